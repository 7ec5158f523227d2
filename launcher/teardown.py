"""The end of a run: its machine gone and seen to be gone, then everything else that was made for it."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from launcher import outputs, places
from launcher.aws import baked
from launcher.domain import Receipt, RunStatus
from launcher.errors import LedgerError
from launcher.ledger import receipt_to_text
from launcher.live import LiveRun
from launcher.paths import RECEIPT_NAME
from launcher.receipt import receipt
from launcher.salvage import leave_last_checkpoint
from launcher.sync.ssh import known_hosts


def end(live: LiveRun, status: RunStatus, *, reason: str = "") -> Receipt:
    """End the run with a final status: terminate, see `terminated`, remove key, template and rule, write the receipt.

    Safe to call at any point and again; signals wait until it is done. A ledger that cannot be written does not keep
    the machine alive. Raises what AWS answers when the end cannot be verified: the run then stays `terminating`, and
    `gpurun resume` goes on from there.
    """
    with live.signals.held("already ending the machine; this takes seconds and is not interrupted"):
        live.hang_up()
        with suppress(LedgerError):
            live.refresh()
        if live.record.status.final:
            return receipt(live)
        if live.record.status is not RunStatus.PLANNED:
            with suppress(LedgerError):
                # First, and why: whoever goes on with this end after a crash must know what it was to be.
                live.event("ending", status=status.value, reason=reason)
                live.advance(RunStatus.TERMINATING)
                live.update(reason=reason or live.record.reason)
                live.phases.enter("terminate")
            places.of(live).vacate(live)
            if status is not RunStatus.SUCCEEDED:
                _remove_images(live)
        live.phases.enter("end")
        live.update(reason=reason or live.record.reason)
        leave_last_checkpoint(live)
        _forget(live)
        outputs.tidy(live)
        live.note_calls()
        live.advance(status)
        final = receipt(live)
        text = receipt_to_text(final)
        live.update(receipt=text)
        _leave_receipt(live, text)
        return final


def _remove_images(live: LiveRun) -> None:
    """What a bake that came to nothing has made, or asked for; an image that has its name is somebody's."""
    if not live.has_event("image.intent"):
        return
    for image in baked.of_bake(live.aws, live.run_id):
        if not image.name:
            baked.remove(live.aws, image)
            live.event("image.removed", id=image.image_id)


def deserved(live: LiveRun) -> RunStatus:
    """What a run whose machine is ended without anybody's wish has come to: what is home decides."""
    begun = live.told("ending")
    if begun:
        return RunStatus(begun[-1]["status"])
    home = live.has_event("fetched") and live.record.exit_status == 0
    return RunStatus.SUCCEEDED if home else RunStatus.FAILED


def _leave_receipt(live: LiveRun, text: str) -> None:
    results = Path(live.record.results_dir)
    fetched = live.told("fetched") or live.told("salvaged")
    try:
        if fetched:
            (results / fetched[-1]["own"] / RECEIPT_NAME).write_text(text + "\n")
        elif results.is_dir() and not any(results.iterdir()):
            results.rmdir()  # made for results that never came
    except OSError as error:
        live.reporter.warn(f"the receipt could not be written beside the results: {error}")


def _forget(live: LiveRun) -> None:
    """Remove the run's private keys and its place in the ssh_config; the log stays."""
    for secret in (live.paths.key, live.paths.host_key):
        secret.unlink(missing_ok=True)
    if live.has_event("fetched") or live.has_event("salvaged"):
        shutil.rmtree(live.paths.shipments, ignore_errors=True)
    shutil.rmtree(live.paths.code, ignore_errors=True)
    known_hosts.remove(live.state, live.run_id)
