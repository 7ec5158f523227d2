"""Answers framed requests on standard input: manifests, files up and down, the job, its log."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from . import intake, outgo
from .fetch import fetch
from .files import told
from .job import release, renew, report, send_signal, start
from .log import follow
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
    "state": intake.state,
    "entries": intake.entries,
    "staged": intake.staged,
    "take": intake.take,
    "copies": intake.copies,
    "clone": intake.clone,
    "leaves": intake.leaves,
    "grains": intake.grains,
    "commit": intake.commit,
    "drop": intake.drop,
    "look": outgo.look,
    "hash": outgo.hash_files,
    "give": outgo.give,
    "share": share,
    "gather": gather,
    "free": intake.free_disk,
    "fetch": fetch,
    "start": start,
    "report": report,
    "renew": renew,
    "release": release,
    "signal": send_signal,
    "follow": follow,
}


def serve() -> None:
    """Answer requests until the other side hangs up."""
    wire = Wire(0, 1)
    write_all(1, MAGIC)
    while True:
        try:
            request = wire.receive_json()
            answer = OPERATIONS[request["op"]](wire, request)
        except (EOFError, BrokenPipeError):
            return
        except Refusal as refusal:
            answer = {"error": {"kind": "refused", "message": str(refusal)}}
        except OSError as error:
            answer = told(error)
        try:
            wire.send_json(answer)
        except BrokenPipeError:
            return
