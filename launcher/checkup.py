"""The checks of `gpurun doctor`: all at once, each bounded in time, each with the exact fix."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

from launcher.aws import defaultgroup, images, killswitch, network, permissions, quota
from launcher.aws.client import Aws
from launcher.domain import Account
from launcher.errors import GpurunError
from launcher.ledger import Ledger
from launcher.paths import StatePaths
from launcher.sync.ssh import keys

BUDGET_S = 9.0
"""All checks together; what has not answered by then is a finding of its own."""
MAX_CLOCK_SKEW_S = 240.0
"""AWS refuses signatures that are five minutes off."""
GPU_QUOTAS = {"L-3819A6DF": "spot G and VT vCPUs", "L-DB2E81BA": "on-demand G and VT vCPUs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check's outcome; `verdict` is ok, warn or bad."""

    name: str
    verdict: str
    text: str
    fix: str = ""


def run(account: Account, state: StatePaths) -> tuple[Finding, ...]:
    """Run every check; never raises for what a check finds."""
    aws = Aws(account)
    checks: dict[str, Callable[[], list[Finding]]] = {
        "credentials": lambda: _identity(aws),
        "permissions": lambda: _permissions(aws),
        "kill switch": lambda: kill_switch(aws),
        "quota": lambda: _quotas(aws),
        "network": lambda: _network(aws),
        "default group": lambda: default_group(aws),
        "address": lambda: _address(aws),
        "image": lambda: _image(aws),
        "clock": lambda: _clock(aws),
        "keys": _keys,
        "ssh": _ssh,
        "state": lambda: _state(state),
    }
    pool = ThreadPoolExecutor(len(checks))
    began = time.monotonic()
    futures = {name: pool.submit(check) for name, check in checks.items()}
    found = tuple(each for name, future in futures.items() for each in _outcome(name, future, began))
    pool.shutdown(wait=False, cancel_futures=True)
    return found


def _outcome(name: str, future: Future[list[Finding]], began: float) -> list[Finding]:
    try:
        return future.result(max(0.1, BUDGET_S - (time.monotonic() - began)))
    except FutureTimeoutError:
        return [
            Finding(
                name=name,
                verdict="bad",
                text=f"no answer within {BUDGET_S:.0f} s",
                fix="check the network and try again",
            )
        ]
    except GpurunError as error:
        return [Finding(name=name, verdict="bad", text=error.message, fix=error.hint)]


def _identity(aws: Aws) -> list[Finding]:
    identity = aws.identity()
    text = f"{identity.arn} in account {identity.account_id}, region {aws.region}"
    return [Finding(name="credentials", verdict="ok", text=text)]


def _permissions(aws: Aws) -> list[Finding]:
    probes = permissions.probe(aws)
    denied = [probe for probe in probes if not probe.allowed]
    if not denied:
        return [Finding(name="permissions", verdict="ok", text=f"all {len(probes)} that can be tried dry are granted")]
    return [Finding(name="permissions", verdict="bad", text=f"{p.action} is denied", fix=p.advice) for p in denied]


def kill_switch(aws: Aws) -> list[Finding]:
    """The lifeline's layer in the cloud; runs are safe without it, so that nothing here is worse than a warning."""
    name = "kill switch"
    denied = [probe for probe in permissions.probe_switch(aws) if not probe.allowed]
    if denied:
        return [Finding(name=name, verdict="warn", text=f"{p.action} is denied", fix=p.advice) for p in denied]
    there = permissions.switch_role(aws)
    if there is None:
        text = f"iam:GetRole is denied, so that only a launch will tell whether there is a role {killswitch.ROLE}"
        return [Finding(name=name, verdict="warn", text=text, fix=killswitch.SET_UP)]
    if not there:
        text = f"there is no role {killswitch.ROLE} that EventBridge Scheduler may take"
        return [Finding(name=name, verdict="warn", text=text, fix=killswitch.SET_UP)]
    return [Finding(name=name, verdict="ok", text=f"schedules can be made, and act as {killswitch.ROLE}")]


def _quotas(aws: Aws) -> list[Finding]:
    found = []
    for each in quota.read(aws):
        if each.code not in GPU_QUOTAS:
            continue
        text = f"{GPU_QUOTAS[each.code]}: {each.value:.0f}"
        if each.value >= 4:
            found.append(Finding(name="quota", verdict="ok", text=text))
            continue
        fix = (
            f"aws service-quotas request-service-quota-increase --region {aws.region} --service-code ec2"
            f" --quota-code {each.code} --desired-value 8"
        )
        found.append(Finding(name="quota", verdict="warn", text=text + ", and the smallest GPU needs 4", fix=fix))
    return found


def _network(aws: Aws) -> list[Finding]:
    subnets = network.default_subnets(aws, [])
    zones = ", ".join(sorted(subnets))
    return [Finding(name="network", verdict="ok", text=f"default subnets in {zones}")]


def default_group(aws: Aws) -> list[Finding]:
    """Who gets at a machine between its launch and the moment that the run's own group is put on it."""
    group = defaultgroup.find(aws)
    if group is None:
        return []  # `network` tells
    name = "default group"
    if not group.open_rule_ids:
        return [Finding(name=name, verdict="ok", text=f"{group.group_id} does not let everybody in by SSH")]
    text = f"{group.group_id} lets anybody in by SSH, and a machine is in it for its first seconds"
    fix = (
        f"aws ec2 revoke-security-group-ingress --region {aws.region} --group-id {group.group_id}"
        f" --security-group-rule-ids {' '.join(group.open_rule_ids)}"
    )
    return [Finding(name=name, verdict="warn", text=text, fix=fix)]


def _address(aws: Aws) -> list[Finding]:
    return [Finding(name="address", verdict="ok", text=f"SSH would be opened to {network.caller_address(aws)} alone")]


def _image(aws: Aws) -> list[Finding]:
    image = images.resolve(aws, "")
    return [Finding(name="image", verdict="ok", text=f"{image.image_id} {image.name}")]


def _clock(aws: Aws) -> list[Finding]:
    before = datetime.now(UTC)
    answer = aws.sts.get_caller_identity()
    stamp = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if stamp is None:
        return [Finding(name="clock", verdict="ok", text="AWS sent no date to compare with")]
    skew_s = (parsedate_to_datetime(stamp) - before).total_seconds()
    text = f"{abs(skew_s):.0f} s from AWS's"
    if abs(skew_s) < MAX_CLOCK_SKEW_S:
        return [Finding(name="clock", verdict="ok", text=text)]
    return [Finding(name="clock", verdict="bad", text=text, fix="sudo timedatectl set-ntp true")]


def _keys() -> list[Finding]:
    folder = Path("~/.ssh").expanduser()
    open_keys = [path for path in sorted(folder.glob("*.pem")) if path.stat().st_mode & 0o077]
    if open_keys:
        return [
            Finding(name="keys", verdict="warn", text=f"{path} is readable by others", fix=f"chmod 400 {path}")
            for path in open_keys
        ]
    generated = keys.generate("gpurun doctor").public_line.split()[0]
    return [Finding(name="keys", verdict="ok", text=f"{generated} keys can be made; none in {folder} is open")]


def _ssh() -> list[Finding]:
    found = shutil.which("ssh")
    if found:
        return [Finding(name="ssh", verdict="ok", text=found)]
    return [Finding(name="ssh", verdict="ok", text="no ssh on PATH: gpurun ssh uses its own")]


def _state(state: StatePaths) -> list[Finding]:
    with Ledger.open(state.ledger) as book:
        runs = len(book.list(active_only=True))
    free = shutil.disk_usage(state.home).free
    text = f"{state.home}: {runs} runs under way, {free / 1e9:.0f} GB free"
    if state.home.stat().st_mode & 0o077:
        return [Finding(name="state", verdict="bad", text=text, fix=f"chmod 700 {state.home}")]
    return [Finding(name="state", verdict="ok", text=text)]
