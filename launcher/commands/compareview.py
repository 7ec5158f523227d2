"""What the runs of a comparison tell, run by run, while they go on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from launcher import render
from launcher.render.board import Board

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.domain import RunId

MARK = "gpurun: "
"""What the lines of the machine's own leg driver begin with."""
_LEG = re.compile(r"leg \d+ of \d+\b")


class View:
    """One label for each run; as JSON its events go out as they are, each with its run."""

    def __init__(self, labels: Mapping[RunId, str], *, as_json: bool) -> None:
        self._labels = labels
        self._as_json = as_json
        self._board = None if as_json else Board([*labels.values()])
        self._rests = dict.fromkeys(labels, "")

    def take(self, run_id: RunId, event: Mapping[str, Any]) -> None:
        """One event of a run's launcher."""
        if self._board is None:
            if event.get("event") not in {"log", "ended"}:
                render.print_json({**event, "run_id": run_id})
            return
        label, kind = self._labels[run_id], event.get("event")
        if kind == "phase":
            self._phase(self._board, label, f"{event.get('name', '')}  {event.get('detail', '')}".strip())
        elif kind == "log":
            self._log(self._board, run_id, label, str(event.get("text", "")))
        elif kind == "warning":
            self._board.news(label, f"warning: {event.get('message', '')}")
        elif kind == "receipt":
            self._phase(self._board, label, f"{_outcome(event)}, {_usd(event)}")
        elif kind == "error":
            hint = f"; next: {event['hint']}" if event.get("hint") else ""
            self._phase(self._board, label, f"error: {event.get('message', '')}{hint}")

    def note(self, message: str) -> None:
        """Something about all of them."""
        if self._board is None:
            render.print_json({"event": "note", "message": message})
        else:
            self._board.news("", message)

    def tick(self) -> None:
        """Time has passed."""
        if self._board is not None:
            self._board.tick()

    def close(self) -> None:
        """Nothing follows."""
        if self._board is not None:
            self._board.close()

    def _phase(self, board: Board, label: str, text: str) -> None:
        board.state(label, text)
        board.news(label, text)

    def _log(self, board: Board, run_id: RunId, label: str, text: str) -> None:
        """Of a job's log, what the driver of the legs says."""
        *lines, self._rests[run_id] = (self._rests[run_id] + text).split("\n")
        for line in lines:
            if line.startswith(MARK):
                said = line.removeprefix(MARK)
                if _LEG.match(said):
                    board.state(label, said)
                board.news(label, said)


def _outcome(event: Mapping[str, Any]) -> str:
    """A run whose legs were not all done is a failed one, as a run; its other legs count nonetheless."""
    return "over, not all legs were done" if event.get("status") == "failed" else f"over: {event.get('status', '')}"


def _usd(event: Mapping[str, Any]) -> str:
    cost = event.get("cost_usd")
    return f"{cost:.4f} USD" if isinstance(cost, int | float) else "no cost told"
