"""JSON events on standard output, one object a line."""

from __future__ import annotations

import codecs
import threading
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from launcher.render.folding import Folding
from launcher.render.output import print_json
from launcher.render.ticker import Ticker
from launcher.render.transfers import Transfers

if TYPE_CHECKING:
    from launcher.domain import TransferProgress
    from launcher.render.meter import Meter

SAY_EVERY_S = 0.25
TICK_S = 0.5


class JsonReporter:
    """One event for each thing that happens."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._transfers = Transfers()
        self._folding = Folding()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._ticker = Ticker(TICK_S, self._tick, self._lock)

    def phase(self, name: str, detail: str = "") -> None:
        """`{"event": "phase"}`."""
        with self._lock:
            self._end_all()
            self._say("phase", name=name, detail=detail)

    def note(self, message: str) -> None:
        """`{"event": "note"}`."""
        with self._lock:
            self._say("note", message=message)

    def warn(self, message: str) -> None:
        """`{"event": "warning"}`."""
        with self._lock:
            self._say("warning", message=message)

    def transfer(self, progress: TransferProgress) -> None:
        """`{"event": "transfer"}`: a few a second, and the last with all its figures and `"finished": true`."""
        with self._lock:
            now = time.monotonic()
            meter = self._transfers.take(progress, now)
            if meter is None:
                return
            if progress.finished or meter.told_at is None or now - meter.told_at >= SAY_EVERY_S:
                meter.told_at = now
                self._moved(meter, now, finished=progress.finished)

    def log(self, data: bytes) -> None:
        """`{"event": "log"}`: whole lines of text, folded; bytes that are not UTF-8 are whole in the log file alone."""
        with self._lock:
            self._text(self._folding.feed(data, time.monotonic()))
            if self._folding.waiting:
                self._ticker.wake()

    def close(self) -> None:
        """Say what is still unsaid; nothing follows."""
        with self._lock:
            self._end_all()
        self._ticker.stop()

    def _end_all(self) -> None:
        self._text(self._folding.end(), final=True)
        now = time.monotonic()
        for meter in self._transfers.end():
            self._moved(meter, now, finished=True)

    def _tick(self) -> bool:
        self._text(self._folding.tick(time.monotonic()))
        return self._folding.waiting

    def _text(self, data: bytes, *, final: bool = False) -> None:
        if text := self._decoder.decode(data, final):
            self._say("log", text=text)

    def _moved(self, meter: Meter, now: float, *, finished: bool) -> None:
        elapsed_s = round(meter.elapsed_s(now), 3)
        self._say("transfer", **asdict(meter.progress), elapsed_s=elapsed_s, finished=finished)

    def _say(self, event: str, **fields: Any) -> None:
        print_json({"event": event, "time": time.time(), **fields})
