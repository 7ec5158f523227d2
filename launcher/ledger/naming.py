"""What runs are called, and which run a user means."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from launcher.domain import RunId
from launcher.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyz"
_TAIL_LENGTH = 5


def new_run_id(name: str) -> RunId:
    """`digits-20261120-201530-x7f3a`: the name, the time in UTC, and five random characters.

    Runs of one name sort by age. A name of up to 41 characters gives at most 63, which DNS allows in a label.
    """
    number = int.from_bytes(os.urandom(8))
    tail = "".join(_ALPHABET[number // 36**place % 36] for place in range(_TAIL_LENGTH))
    return RunId(f"{name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{tail}")


def choose(text: str | None, known: Sequence[tuple[RunId, str]]) -> RunId:
    """The run that `text` means among (id, name) pairs, newest first.

    A full id, a name (its newest run), the beginning of one id, or `last` (also `None`): the newest of all.
    Raises `SpecError`.
    """
    if not known:
        raise SpecError("there is no run yet", hint="start one with `gpurun launch`")
    if text in {None, "", "last"}:
        return known[0][0]
    wanted = str(text)
    exact = [run_id for run_id, name in known if wanted == run_id] or [i for i, name in known if name == wanted]
    if exact:
        return exact[0]
    return _by_prefix(wanted, known)


def _by_prefix(wanted: str, known: Sequence[tuple[RunId, str]]) -> RunId:
    beginning = [run_id for run_id, _ in known if run_id.startswith(wanted)]
    if len(beginning) == 1:
        return beginning[0]
    if beginning:
        raise SpecError(
            f"{len(beginning)} runs begin with {wanted!r}: {_listed(beginning)}", hint="give more of the id"
        )
    raise unknown_run(wanted, known)


def unknown_run(wanted: str, known: Sequence[tuple[RunId, str]]) -> SpecError:
    """The error for a run that is not there, with the nearest ids and names."""
    near = _near(wanted, known)
    meant = f"; did you mean {_listed(near)}?" if near else ""
    return SpecError(f"there is no run {wanted!r}{meant}", hint="list them with `gpurun status --all`")


def _near(wanted: str, known: Sequence[tuple[RunId, str]]) -> list[str]:
    from difflib import get_close_matches  # noqa: PLC0415 - needed for a mistake alone, and slow to import

    words = dict.fromkeys(word for run_id, name in known for word in (name, run_id))
    return get_close_matches(wanted, list(words), n=3, cutoff=0.6)


def _listed(words: Sequence[str]) -> str:
    return ", ".join(words[:5]) + (", ..." if len(words) > 5 else "")
