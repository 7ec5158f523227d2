"""What people and programs see. The job's log goes to standard output; everything of ours to standard error."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from launcher.render.output import print_json, write_out
from launcher.render.text import age, receipt_text, segments_table, size, table

if TYPE_CHECKING:
    from launcher.ports import Reporter

__all__ = ["age", "print_json", "receipt_text", "reporter", "segments_table", "size", "table", "write_out"]


def reporter(*, as_json: bool) -> Reporter:
    """The reporter that fits: JSON lines, a terminal, or plain lines for a pipe; to be closed when all is said."""
    # Each is loaded where it is needed: `gpurun status` needs none.
    if as_json:
        from launcher.render.events import JsonReporter  # noqa: PLC0415 - see above

        return JsonReporter()
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from launcher.render.terminal import TerminalReporter  # noqa: PLC0415 - see above

        return TerminalReporter()
    from launcher.render.plain import PlainReporter  # noqa: PLC0415 - see above

    return PlainReporter()
