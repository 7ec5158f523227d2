"""gpurun's command line, which holds still once its bake's nth event is written: whoever watches kills it there.

python halting.py N ami bake ..
"""

import os
import signal
import sys
from typing import Any

from launcher import cli
from launcher.ledger import Ledger


def main() -> None:
    """Count what is written of runs that bake: events, and where their status moved."""
    last, seen = int(sys.argv.pop(1)), 0

    def counted(write: Any) -> Any:
        def call(book: Ledger, run_id: str, *arguments: Any, **columns: Any) -> Any:
            nonlocal seen
            before = len(book.events(run_id)) if run_id.startswith("bake-") else 0
            result = write(book, run_id, *arguments, **columns)
            if run_id.startswith("bake-") and len(book.events(run_id)) > before:
                seen += 1
                if seen == last:
                    os.kill(os.getpid(), signal.SIGSTOP)
            return result

        return call

    Ledger.event, Ledger.advance = counted(Ledger.event), counted(Ledger.advance)  # type: ignore[method-assign]
    cli.main()


main()
