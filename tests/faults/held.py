"""gpurun's command line, which holds still at events of its ledger: whoever watches kills it there, however late.

    python held.py '[["job.started", {"segment": 2}, 0.0], ..]' launch ..

Of each moment: the event, what its data must say, and how many seconds it goes on before it holds still.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping

from launcher import cli
from launcher.ledger import Ledger


def main() -> None:
    moments = json.loads(sys.argv.pop(1))
    coming: list[threading.Timer] = []
    write = Ledger.event

    def event(book: Ledger, run_id: str, kind: str, data: Mapping[str, object] | None = None) -> int:
        number = write(book, run_id, kind, data)
        for wanted, said, after_s in moments:
            if kind == wanted and said.items() <= (data or {}).items():
                coming.append(_hold(after_s))
        return number

    Ledger.event = event
    try:
        cli.main()
    finally:
        for timer in coming:
            timer.join()


def _hold(after_s: float) -> threading.Timer:
    """Stop this process, every thread of it, so long from now."""
    timer = threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGSTOP))
    timer.start()
    if not after_s:
        timer.join()
    return timer


main()
