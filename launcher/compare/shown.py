"""The command line of a comparison as it may be shown to others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

HIDDEN = "..."


def shown(words: Sequence[str]) -> tuple[str, ...]:
    """The words with the values of `--env NAME=VALUE` hidden: a page is passed on, and tokens stand there."""
    return tuple(_shown(words))


def _shown(words: Sequence[str]) -> Iterator[str]:
    value_follows, ours = False, True
    for word in words:
        ours = ours and word != "--"
        if value_follows:
            yield _hidden(word)
        elif ours and word.startswith("--env="):
            yield f"--env={_hidden(word.removeprefix('--env='))}"
        else:
            yield word
        value_follows = ours and not value_follows and word == "--env"


def _hidden(setting: str) -> str:
    name, equals, _ = setting.partition("=")
    return f"{name}={HIDDEN}" if equals else name
