"""`gpurun logs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.commands import options, session

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.live import LiveRun


def command(
    run: options.Run = "last",
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the job ends.")] = False,
) -> None:
    """Print a run's log, byte for byte; -f follows it to the job's end, from any terminal."""
    from launcher import render

    write = _writer()
    with session.ledger() as book:
        record = book.resolve(run)
        offset = _print_kept(session.state().run(record.run_id).log, write)
        if record.status.final or not record.address:
            return
        live = session.live_run(record, book, render.reporter(as_json=False))
        try:
            _print_rest(live, offset, write, follow=follow)
        finally:
            live.hang_up()


def _print_kept(path: Path, write: Callable[[bytes], None]) -> int:
    """What came home already: it needs no network."""
    if not path.exists():
        return 0
    data = path.read_bytes()
    write(data)
    return len(data)


def _print_rest(live: LiveRun, offset: int, write: Callable[[bytes], None], *, follow: bool) -> None:
    from launcher.attach import reach
    from launcher.sync import stream

    lines = reach(live)
    if not follow:
        write(stream.read(lines.control.current(), live.layout, offset=offset))
        return
    for data in stream.follow(lambda: lines.log.fresh(600.0), live.layout, offset=offset):
        write(data)


def _writer() -> Callable[[bytes], None]:
    """To standard output as it is; to a terminal without what would speak to that."""
    if not sys.stdout.isatty():
        return _write
    from launcher.render.escapes import Harmless

    harmless = Harmless()
    return lambda data: _write(harmless.feed(data))


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
