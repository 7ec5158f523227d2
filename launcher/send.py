"""Code and data up: over as many lines as it takes."""

from __future__ import annotations

from launcher.errors import HostUnreachable
from launcher.live import LiveRun
from launcher.ports import Lines
from launcher.prepare import Luggage
from launcher.sync import remote_agent, transfer
from launcher.sync.local.memory import Memory
from launcher.sync.local.tree import Scan
from launcher.sync.names import shown
from launcher.sync.up.upload import Transferred

ATTEMPTS = 5
CONNECT_TIMEOUT_S = 60.0


def send_all(live: LiveRun, lines: Lines, luggage: Luggage) -> None:
    """Code, data, and the objects that the machine fetches by itself; raises as `send` does."""
    for name, why in luggage.skipped:
        live.reporter.warn(f"not uploaded: {shown(name)}: {why}")
    send(live, lines, luggage.code, live.layout.code, label="code")
    if luggage.data is not None:
        send(live, lines, luggage.data, live.layout.data, label="data")
    if luggage.objects:
        remote_agent.fetch_urls(
            lines.control.fresh(CONNECT_TIMEOUT_S), live.layout, luggage.objects, live.reporter.transfer
        )


def send(live: LiveRun, lines: Lines, scan: Scan, remote_dir: str, *, label: str) -> Transferred:
    """Make a folder of a machine hold what was scanned; an attempt goes on from what the last one brought.

    Raises `TransferError` when it cannot be done and `HostUnreachable` when no line holds.
    """
    memory = Memory(live.state.memory)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            reporter = live.reporter
            sent = transfer.push(lines, scan, remote_dir, reporter.transfer, label, memory=memory, warn=reporter.warn)
        except HostUnreachable:
            if attempt == ATTEMPTS:
                raise
            live.reporter.warn("the line broke during the upload; going on over a new one")
        else:
            for name in sent.changed:
                live.reporter.warn(f"{shown(name)} changed while it was read; what went up is the newer state")
            memory.forget_old()
            live.event("sent", label=label, sent_bytes=sent.sent_bytes, seconds=round(sent.seconds, 3))
            return sent
    raise AssertionError
