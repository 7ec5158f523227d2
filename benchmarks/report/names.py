"""Some of several names, as an option of the command line takes them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable


def names(known: Iterable[str]) -> Callable[[str], list[str]]:
    """For `add_argument(type=..)`: names with commas between them, each of which must be known."""

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name} is none of {', '.join(known)}")
        return chosen

    return parse
