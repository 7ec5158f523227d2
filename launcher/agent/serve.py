"""Answers framed requests on standard input: manifests, files up and down, the job, its log."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from . import outgo
from .clone import clone, grains, leaves
from .commit import commit
from .copies import copies
from .discard import discard
from .fetch import fetch
from .files import told
from .grant import grant
from .intake import take
from .job import ask_checkpoint, release, renew, report, send_signal, start, stop_in
from .log import follow
from .settle import drop
from .state import entries, free_disk, staged, state
from .wire import MAGIC, Json, Refusal, Wire, write_all

if TYPE_CHECKING:
    from collections.abc import Callable


def hello(_wire: Wire, _request: Json) -> Json:
    """What there is to know before work is shared out: the way here and back is what the laptop measures."""
    return {"cpus": os.cpu_count() or 1}


def share(wire: Wire, request: Json) -> Json:
    """Serve a folder to other machines."""
    from .share import share as serve_others  # noqa: PLC0415  (TLS is 20 ms that no other operation has to pay)

    return serve_others(wire, request)


def gather(wire: Wire, request: Json) -> Json:
    """Take files from another machine."""
    from .gather import gather as take_all  # noqa: PLC0415  (likewise)

    return take_all(wire, request)


OPERATIONS: dict[str, Callable[[Wire, Json], Json]] = {
    "hello": hello,
    "state": state,
    "entries": entries,
    "staged": staged,
    "take": take,
    "copies": copies,
    "clone": clone,
    "leaves": leaves,
    "grains": grains,
    "commit": commit,
    "drop": drop,
    "look": outgo.look,
    "hash": outgo.hash_files,
    "give": outgo.give,
    "share": share,
    "gather": gather,
    "free": free_disk,
    "fetch": fetch,
    "start": start,
    "report": report,
    "renew": renew,
    "release": release,
    "discard": discard,
    "grant": grant,
    "signal": send_signal,
    "stop_in": stop_in,
    "checkpoint": ask_checkpoint,
    "follow": follow,
}


STREAMS = {"", "take", "give"}
"""After an error in one of these, or in the request itself, what still comes is no request."""


def serve() -> None:
    """Answer requests until the other side hangs up."""
    wire = Wire(0, 1)
    write_all(1, MAGIC)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while answer(wire):
            pass
        wire.drain()


def answer(wire: Wire) -> bool:
    """Answer one request; whether another may follow. Raises `EOFError` or `BrokenPipeError` at the end."""
    asked = ""
    try:
        request = wire.receive_json()
        asked = request["op"]
        reply = OPERATIONS[asked](wire, request)
    except (EOFError, BrokenPipeError):
        raise
    except Refusal as refusal:
        reply = {"error": {"kind": "refused", "message": str(refusal)}}
    except OSError as error:
        reply = told(error)
    except Exception as error:  # noqa: BLE001  (an agent that dies looks like a dead line)
        reply = {"error": {"kind": "bug", "message": f"{type(error).__name__}: {error}"}}
    wire.send_json(reply)
    return "error" not in reply or asked not in STREAMS
