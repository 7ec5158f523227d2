"""The end of a run: its machine gone and seen to be gone, then everything else that was made for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from launcher import cost, interrupts
from launcher.aws import fleet, keypair, network
from launcher.aws.client import Aws
from launcher.domain import JobUsage, Receipt, RunStatus
from launcher.ledger import receipt_to_text
from launcher.live import LiveRun, now
from launcher.sync import known_hosts

TERMINATE_TIMEOUT_S = 300.0
RECEIPT_NAME = "gpurun-receipt.json"


def end(live: LiveRun, status: RunStatus, *, reason: str = "") -> Receipt:
    """End the run with a final status: terminate, see `terminated`, remove key, template and rule, write the receipt.

    Safe to call at any point and again; signals wait until it is done. Raises what AWS answers when the end cannot be
    verified: the run then stays `terminating`, and `gpurun down` goes on from there.
    """
    with interrupts.deferred(live.reporter.warn):
        live.hang_up()
        live.refresh()
        if live.record.status.final:
            return receipt(live)
        if live.record.status is not RunStatus.PLANNED:
            live.advance(RunStatus.TERMINATING)
            live.event("ending", status=status.value, reason=reason)
            _remove_everything(live)
        live.phases.enter("end")
        live.update(reason=reason or live.record.reason)
        live.advance(status)
        _forget(live)
        final = receipt(live)
        text = receipt_to_text(final)
        live.update(receipt=text)
        results = Path(live.record.results_dir)
        if results.is_dir():
            (results / RECEIPT_NAME).write_text(text + "\n")
        return final


def _remove_everything(live: LiveRun) -> None:
    live.phases.enter("terminate")
    regions = {event.data["region"] for event in live.ledger.events(live.run_id) if event.kind == "network.intent"}
    with ThreadPoolExecutor(max(1, len(regions))) as pool:
        list(pool.map(lambda region: _remove_in(live, live.aws.at(region)), sorted(regions)))
    for resource in live.ledger.open_resources(live.run_id):
        live.ledger.released(resource.resource_id)


def _remove_in(live: LiveRun, aws: Aws) -> None:
    known = {live.record.instance_id} if live.record.instance_id and aws.region == live.record.region else set()
    if not known:
        # CreateFleet may have been sent without its answer being read: the tag tells.
        known = {each.instance_id for each in fleet.find(aws, run_id=live.run_id) if not each.gone}
    ids = sorted(known)
    fleet.terminate(aws, ids)
    with ThreadPoolExecutor(2) as pool:
        removed = [
            pool.submit(keypair.delete_key, aws, run_id=live.run_id),
            pool.submit(fleet.delete_template, aws, run_id=live.run_id),
        ]
        fleet.wait_terminated(aws, ids, timeout_s=TERMINATE_TIMEOUT_S)
        for each in removed:
            each.result()
    network.close_ingress(aws, run_id=live.run_id)


def _forget(live: LiveRun) -> None:
    """Remove the run's private keys and its place in the ssh_config; the log stays."""
    for secret in (live.paths.key, live.paths.host_key):
        secret.unlink(missing_ok=True)
    known_hosts.remove(live.state, live.run_id)


def receipt(live: LiveRun) -> Receipt:
    """What the run cost and brought home, from the ledger alone."""
    record = live.record
    begun = _moment(live, "instance")
    billed_s = cost.billed_seconds(((record.ended_at or now()) - begun).total_seconds()) if begun else 0.0
    estimate = cost.estimate(record.price_usd_per_hour or 0.0, live.spec.resources.disk_gib, record.region)
    fetched = _last(live, "fetched")
    usage = _last(live, "job.done").get("usage")
    return Receipt(
        run_id=live.run_id,
        status=record.status,
        exit_status=record.exit_status,
        instance_type=record.instance_type or "",
        zone=record.zone or "",
        market=record.market or "",
        price_usd_per_hour=record.price_usd_per_hour or 0.0,
        billed_s=billed_s,
        cost_usd=cost.actual(estimate, billed_s),
        phases=live.phases.times(),
        results_dir=record.results_dir,
        files=fetched.get("files", 0),
        size_bytes=fetched.get("size_bytes", 0),
        usage=JobUsage(**usage) if usage else None,
    )


def _last(live: LiveRun, kind: str) -> dict[str, Any]:
    found = [event.data for event in live.ledger.events(live.run_id) if event.kind == kind]
    return found[-1] if found else {}


def _moment(live: LiveRun, kind: str) -> datetime | None:
    found = [event.at for event in live.ledger.events(live.run_id) if event.kind == kind]
    return found[0] if found else None
