"""What a job leaves behind beside its weights: metrics.jsonl and result.json."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from jobs.errors import JobError
from jobs.files import write_atomically
from jobs.tensorboard import EventFile

METRICS, RESULT = "metrics.jsonl", "result.json"


@dataclass(slots=True)
class MetricsLog:
    """Lines of {"step", "epoch", "name", "value", "time"}, each on the disk's side as soon as it is written."""

    file: TextIO
    events: EventFile | None = None
    """The same for TensorBoard, where that is wanted."""

    @classmethod
    def open(cls, folder: Path, *, from_step: int, tensorboard: bool = False) -> MetricsLog:
        """Go on at `from_step`: lines of that step and later, of a run that was cut off, are dropped."""
        path = folder / METRICS
        kept = [line for line in _lines(path) if _step(line) < from_step]
        write_atomically(path, lambda file: file.write("".join(kept).encode()))
        events = EventFile.open(folder, from_step=from_step) if tensorboard else None
        return cls(path.open("a", encoding="utf-8"), events)

    def write(self, *, step: int, epoch: int, **values: float) -> None:
        """One line for each value; `step` counts batches from the first epoch's first. Raises `JobError`."""
        try:
            self._write(step, epoch, values)
        except OSError as error:
            raise JobError(f"cannot write the metrics: {error.strerror or error}", exit_code=1) from error

    def _write(self, step: int, epoch: int, values: Mapping[str, float]) -> None:
        now = round(time.time(), 3)
        for name, value in values.items():
            line = {"step": step, "epoch": epoch, "name": name, "value": value, "time": now}
            self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        if self.events:
            self.events.write(step=step, seconds=now, values=values)

    def close(self) -> None:
        """No line follows."""
        self.file.close()
        if self.events:
            self.events.close()


def _lines(path: Path) -> list[str]:
    """The whole lines of `path`; a last one that was cut off is none."""
    if not path.exists():
        return []
    return [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]


def _step(line: str) -> float:
    """Which step a line is of; infinite for a line that is none of ours."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return float("inf")


def write_result(folder: Path, result: Mapping[str, Any]) -> None:
    """Write result.json atomically."""
    text = json.dumps(result, indent=2) + "\n"
    write_atomically(folder / RESULT, lambda file: file.write(text.encode()))


def read_result(folder: Path) -> dict[str, Any]:
    """The result.json in `folder`, empty where there is none; raises `JobError` where it is broken."""
    path = folder / RESULT
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise JobError(f"cannot read {path}: {error}") from error
    return found if isinstance(found, dict) else {}
