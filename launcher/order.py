"""What the agent is told of a job."""

from __future__ import annotations

import os

from launcher import lifeline
from launcher import spec as specs
from launcher.domain import AWS, JobSpec
from launcher.errors import SpecError
from launcher.live import LiveRun
from launcher.sync.remote_agent import AgentJob

MAX_FETCH_MARGIN_S = 300.0
FETCH_MARGIN_SHARE = 0.05
MIN_FETCH_MARGIN_S = 15.0
GRACE_SHARE = 0.2
"""Of the time that is left: where there is little, saving must not take all of it."""
SOON_S = 1.0
"""What is left of a deadline that has passed: zero would be none at all."""


def agent_job(live: LiveRun) -> AgentJob:
    """The run's job as the agent takes it; raises `SpecError` for a secret that the environment lacks."""
    spec, ours = live.spec, live.record.place == AWS
    specs.check_legs(spec)
    left_s = lifeline.seconds_left(live.deadline)
    grace_s = min(lifeline.STOP_GRACE_S, GRACE_SHARE * left_s)
    return AgentJob(
        argv=spec.argv,
        script=spec.script,
        env=spec.env,
        secrets=_secrets(spec),
        device=spec.device,
        floatx=spec.floatx,
        grace_s=grace_s,
        deadline_in_s=max(SOON_S, left_s - fetch_margin_s(live) if ours else left_s),
        machine_deadline_in_s=max(SOON_S, left_s) if ours else 0.0,
        results_grace_s=lifeline.RESULTS_GRACE_S,
        lease_s=lifeline.LEASE_S,
        keep_on_failure_s=spec.keep_on_failure_s,
        durable=isinstance(spec.outputs, str),
        owned=ours,
        notices=ours,
        legs=spec.legs,
        repeats=spec.repeats,
    )


def fetch_margin_s(live: LiveRun) -> float:
    """How long before the machine's deadline the job's is, so that what it saved can still come home."""
    whole_s = (live.deadline - live.record.created_at).total_seconds()
    least_s = min(MIN_FETCH_MARGIN_S, GRACE_SHARE * lifeline.seconds_left(live.deadline))
    return min(MAX_FETCH_MARGIN_S, max(FETCH_MARGIN_SHARE * whole_s, least_s))


def check_secrets(spec: JobSpec) -> None:
    """Raise `SpecError` for a secret that the environment lacks: before a machine is bought for nothing."""
    missing = [name for name in spec.secrets if name not in os.environ]
    if missing:
        raise SpecError(
            f"secrets that are not in the environment: {', '.join(missing)}", hint=f"export {missing[0]}=..."
        )


def _secrets(spec: JobSpec) -> dict[str, str]:
    check_secrets(spec)
    return {name: os.environ[name] for name in spec.secrets}
