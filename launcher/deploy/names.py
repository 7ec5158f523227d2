"""What everything of a deployed schedule is called; from the name alone, so that it is found again without a ledger."""

from __future__ import annotations

import hashlib

from launcher.aws.tags import TAG_SCHEDULE

TAG_STORE = "gpurun:store"
"""Where its weights are kept: tells one deployment from another of the same name."""
TAG_TICK = "gpurun:tick"
"""On a machine: the time that it was launched for."""
TAG_CAUSE = "gpurun:cause"
"""On a machine: `cron`, or `now` where somebody asked, or `retry` after an interruption."""
TAG_LEFT_S = "gpurun:left-s"
"""On a machine that goes on for another: the seconds that are left of the tick's time."""

FOLDER = ".schedules"
"""Below the store's prefix: no name of weights begins with a full stop."""
_ROLE_LIMIT = 64
"""IAM and STS quotas, "Name quotas"."""


def run_id(name: str) -> str:
    """What its machines carry as the tag of a run."""
    return f"schedule-{name}"


def owner(name: str) -> str:
    """What its machines carry as the tag of an owner: no laptop's."""
    return f"schedule:{name}"


def group(name: str) -> str:
    """The schedule group."""
    return f"gpurun-schedule-{name}"


def template(name: str, digest: str) -> str:
    """The launch template with a certain content."""
    return f"gpurun-schedule-{name}-{digest[:10]}"


def launch_role(name: str, region: str) -> str:
    """The role that EventBridge Scheduler launches machines under."""
    return _short(f"gpurun-schedule-{name}-{region}-launch")


def machine_role(name: str, region: str) -> str:
    """The role, and the instance profile, that the machines have."""
    return _short(f"gpurun-schedule-{name}-{region}-machine")


def roles(name: str, region: str) -> tuple[str, str]:
    """Both of them."""
    return launch_role(name, region), machine_role(name, region)


def token(name: str, tick: str, cause: str = "") -> str:
    """What makes a launch one and the same, however often it is asked for: at most 64 characters.

    Scheduler calls at least once, and each attempt has an execution id of its own: the time alone stays.
    """
    return f"{name}-{tick}{cause[:1]}"


def tags(name: str, store: str) -> dict[str, str]:
    """What is on all of it."""
    return {TAG_SCHEDULE: name, TAG_STORE: store}


def _short(text: str) -> str:
    """IAM is one for all regions and its names are short: a long one is cut, with a hash of all of it."""
    if len(text) <= _ROLE_LIMIT:
        return text
    return f"{text[: _ROLE_LIMIT - 9]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
