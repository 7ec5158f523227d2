"""A new run, written down whole before anything is asked of the cloud."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

from launcher import prepare, process
from launcher import spec as specs
from launcher.aws.client import Aws
from launcher.domain import AWS, Account, JobSpec, Plan, RunStatus
from launcher.interrupts import Signals
from launcher.ledger import Ledger, RunRecord, account_to_text, new_run_id
from launcher.live import LiveRun, dump_plan, now
from launcher.paths import RunPaths, StatePaths
from launcher.phases import Phases
from launcher.ports import Reporter
from launcher.sync.ssh import keys

RESULTS_FOLDER = "runs"


def create(
    spec: JobSpec,
    plan: Plan,
    account: Account,
    aws: Aws | None,
    *,
    ledger: Ledger,
    state: StatePaths,
    reporter: Reporter,
    planning_began: datetime,
) -> LiveRun:
    """Write a new run down, keys and all, before anything is asked of the cloud; one on a machine that is the
    user's own, by its plan's place, needs none.

    Raises `SpecError` for legs that no machine would take.
    """
    specs.check_legs(spec)
    run_id = new_run_id(spec.name)
    outputs = spec.outputs if isinstance(spec.outputs, Path) else Path.cwd() / RESULTS_FOLDER
    results_dir = outputs / run_id
    prepare.make_results_folder(results_dir)
    paths = state.run(run_id)
    paths.home.mkdir(mode=0o700, parents=True)
    host_key_lines = "\n".join(f"{key.algorithm} {key.base64}" for key in plan.host_keys)
    if plan.place == AWS:
        host_key_lines = _make_keys(spec, paths, run_id)
    best = plan.offers[0]
    created = now()
    record = RunRecord(
        run_id=run_id,
        name=spec.name,
        status=RunStatus.PLANNED,
        created_at=created,
        updated_at=created,
        deadline_at=created + timedelta(hours=plan.hours),
        account=account_to_text(account),
        region=best.region,
        spec=specs.dump(spec),
        plan=dump_plan(plan),
        results_dir=str(results_dir),
        token=run_id,
        host_key_line=host_key_lines,
        launcher_pid=os.getpid(),
        launcher_started=process.started(os.getpid()),
        place=plan.place,
    )
    ledger.create(record)
    live = LiveRun(
        record=ledger.get(run_id),
        spec=spec,
        plan=plan,
        cloud=aws,
        ledger=ledger,
        state=state,
        reporter=reporter,
        phases=Phases(ledger, run_id, reporter),
        signals=Signals(reporter.warn),
    )
    looked = f"{len(plan.offers)} pools looked at" if plan.place == AWS else best.instance_type
    live.phases.enter("plan", looked, at=planning_began)
    return live


def _make_keys(spec: JobSpec, paths: RunPaths, run_id: str) -> str:
    """The host key that the machine is to have, and the run's own key where the user named none; gives the former."""
    host_key = keys.generate(f"gpurun host {run_id}")
    keys.write_private(paths.host_key, host_key.private_pem)
    if spec.ssh.key is None:
        own = keys.generate(f"gpurun {run_id}")
        keys.write_private(paths.key, own.private_pem)
    return host_key.public_line
