"""A log for a terminal: what draws passes, what speaks to the terminal itself does not."""

from __future__ import annotations

import re

HELD_LIMIT_BYTES = 1 << 16
"""A longer sequence is none, and shows as text."""

_SUSPECT = re.compile(rb"[\x00-\x06\x0e-\x1f\x7f]|\xc2(?:[\x80-\x9f]|\Z)")
_CONTROLS = re.compile(rb"[\x00-\x06\x0e-\x1f\x7f]|\xc2[\x80-\x9f]")
_STRING = rb"\x1b[\]PX^_k][^\x07\x1b\n]*"
"""Titles, clipboards, device strings: to BEL or ST, and never beyond the line."""
_UNFINISHED = re.compile(rb"(?:\x1b\[[0-?]*[ -/]*|" + _STRING + rb"\x1b?|\x1b[ -/]*|\xc2)\Z")
_SEQUENCE = re.compile(
    rb"(?P<csi>\x1b\[[0-?]*[ -/]*[@-~])|"
    + _STRING
    + rb"(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]|\xc2[\x80-\x9f]|[\x00-\x06\x0e-\x1f\x7f]"
)
_DRAWS = re.compile(rb"\x1b\[(?:[0-9;:]*[A-HPXdfm@su]|[012]?[JK])")
"""Colours, cursor movement, erasing what is on the screen (ECMA-48)."""


class Harmless:
    """Bytes in, bytes out, for a terminal that is not the job's own.

    Colours and progress bars pass. Titles, the clipboard (OSC 52), questions that the terminal would answer into the
    user's next prompt, modes, character sets and resets do not: a job's log may quote anybody.
    """

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """The next bytes, without what a log has no business to say; a sequence that is cut off waits for its rest."""
        if not self._held and not _SUSPECT.search(data):
            return data
        data = self._held + data
        unfinished = _UNFINISHED.search(data)
        self._held = b""
        if unfinished and len(data) - unfinished.start() <= HELD_LIMIT_BYTES:
            self._held = data[unfinished.start() :]
            data = data[: unfinished.start()]
        elif unfinished:
            start = unfinished.start()
            return _SEQUENCE.sub(_allowed, data[:start]) + _CONTROLS.sub(b"", data[start:])
        return _SEQUENCE.sub(_allowed, data)


def _allowed(found: re.Match[bytes]) -> bytes:
    sequence = found["csi"]
    return sequence if sequence and _DRAWS.fullmatch(sequence) else b""
