"""A log for a pipe: of a line that draws itself anew with carriage returns, the last state alone."""

from __future__ import annotations

import re

HELD_LIMIT_BYTES = 1 << 16
"""No progress line is as long: what is longer passes as it comes."""
JOIN_S = 0.5
"""How long the beginning of a line waits for its rest."""
SHOW_EVERY_S = 10.0
"""How often a line that goes on being redrawn is shown."""

_UP_AND_DOWN = re.compile(rb"\x1b\[1?A\r*\n")
"""One line up and down again, as nested bars do: back to where the line began."""
_UPS_AT_END = re.compile(rb"(?:\x1b\[1?A)+\Z")


class Folding:
    """Bytes in, bytes out; times are in seconds of any one clock."""

    def __init__(self) -> None:
        self._held = b""
        """Of the present line: its last state, and the carriage return after it if there is one."""
        self._redrawn = False
        """Whether the present line has a carriage return."""
        self._anew = False
        """Whether one lies before its last state."""
        self._broken = False
        """Whether a part of the present line is out, with no line end after it."""
        self._shown: bytes | None = None
        self._since = 0.0

    @property
    def waiting(self) -> bool:
        """Whether something is held that time alone will bring out."""
        return bool(self._held)

    def feed(self, data: bytes, now: float) -> bytes:
        """Take in the next bytes; gives what is to be shown."""
        if not self._held:
            self._since = now
        text = self._held + data
        while b"\x1b[" in text and (joined := _UP_AND_DOWN.sub(b"\r", text)) != text:
            text = joined
        cut = text.rfind(b"\n") + 1
        out = self._lines(text[:cut]) if cut else b""
        if cut:
            self._since = now
        self._hold(text[cut:])
        if len(self._held) > HELD_LIMIT_BYTES:
            return out + self._pass_on()
        return out + self.tick(now)

    def tick(self, now: float) -> bytes:
        """What has been held for long enough."""
        if not self._held or now - self._since < (SHOW_EVERY_S if self._redrawn else JOIN_S):
            return b""
        self._since = now
        return self._show() if self._redrawn else self._pass_on()

    def end(self) -> bytes:
        """All that is still held: nothing follows."""
        out = self._show() if self._redrawn else self._held
        self._held = b""
        self._begin_line()
        return out

    def _begin_line(self) -> None:
        self._redrawn, self._anew, self._broken, self._shown = False, False, False, None

    def _hold(self, rest: bytes) -> None:
        """Keep of an unfinished line what may still count."""
        if b"\r" in rest:
            body = rest.rstrip(b"\r")
            self._redrawn = True
            self._anew = self._anew or b"\r" in body
            rest = body.rpartition(b"\r")[2] + (b"\r" if len(body) < len(rest) else b"")
        self._held = rest

    def _lines(self, text: bytes) -> bytes:
        """Whole lines, folded; the first may have begun earlier."""
        first, _, others = text.partition(b"\n")
        begun = self._first_line(first)
        self._begin_line()
        if b"\r" in others:
            others = b"".join(map(_folded, others.split(b"\n")[:-1]))
        return begun + others

    def _first_line(self, line: bytes) -> bytes:
        folded = _folded(line)
        if self._shown is not None and _state(folded) == self._shown:
            return b""
        anew = self._anew or b"\r" in line.rstrip(b"\r")
        return b"\n" + folded if self._broken and anew else folded

    def _show(self) -> bytes:
        """The present state as a line of its own, where it is not what was shown last."""
        state = _state(self._held)
        if not state.strip() or state == self._shown:
            return b""
        self._shown = state
        before, self._broken = b"\n" if self._broken and self._anew else b"", False
        return before + state + b"\n"

    def _pass_on(self) -> bytes:
        """What is held of the present line, as it is; its rest will follow it."""
        state = self._held.rstrip(b"\r")
        before = b"\n" if self._broken and self._anew else b""
        self._held = self._held[len(state) :]
        self._redrawn, self._anew = bool(self._held), False
        self._broken = True
        self._shown = None
        return before + state


def _folded(line: bytes) -> bytes:
    """The last state of a whole line, which comes without its newline and leaves with it."""
    body = line.rstrip(b"\r")
    return body.rpartition(b"\r")[2] + (b"\r\n" if len(body) < len(line) else b"\n")


def _state(line: bytes) -> bytes:
    """What a line shows, without its end and what moves the cursor away from it."""
    return _UPS_AT_END.sub(b"", line.rstrip(b"\r\n"))
