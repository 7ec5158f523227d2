"""The deadline that ends every machine on time, whoever dies first.

Layer 1 is here: user-data whose first act is to set a power-off, before SSH, before anything can hang. With
`InstanceInitiatedShutdownBehavior=terminate` a power-off is the end of the bill, and it needs neither network nor
credentials. Layer 2 (the cloud) is `aws.killswitch`, layer 3 (this laptop) `runs`, the agent's lease and `gc`.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

RESULTS_GRACE_S = 1800.0
"""How long a finished job's machine waits for somebody to come for the results."""
LEASE_S = 60.0
"""How long an attached launcher's lease lasts; it renews it many times over."""
STOP_GRACE_S = 90.0
"""How long a job has between SIGTERM and SIGKILL: inside EC2's two-minute notice."""

UNCLAIMED_S = 1800
"""How long a machine stands that no agent works on and on which no job was ever started."""
FAST_CLOCK_S = 240
"""A machine is there well within this of being asked for: a deadline that is nearer by more has a fast clock."""

# $1: the deadline, in seconds since 1970. $2: the seconds that were left when the machine was asked for. Of the two
# the nearer counts, since the machine's clock may be slow; only where the first is nearer by far is the clock fast.
# Later boots go by what the first one wrote down in terms of this machine's own clock, or by the deadline where that
# is nearer.
#
# cloud-init runs this before sysinit.target: there systemd can be given a job, never waited for, and `shutdown +N`
# finds no logind and powers off at once. `sleep` counts on the monotonic clock, so that no step of the clock moves it.
_GUARD = f"""
now=$(date +%s)
left=$(( $1 - now ))
stamp=${{STATE_DIRECTORY:-/var/lib/gpurun}}/deadline-$1
keep() {{ mkdir -p "${{stamp%/*}}" && echo $(( now + $1 )) >"$stamp"; }} 2>/dev/null
own=$(cat "$stamp" 2>/dev/null)
case $own in *[!0-9]*) own= ;; esac
if [ -n "$own" ]; then
    [ $(( own - now )) -ge "$left" ] || left=$(( own - now ))
elif [ "$2" -lt "$left" ]; then
    left=$2; keep "$left"
elif [ "$left" -ge $(( $2 - {FAST_CLOCK_S} )) ]; then
    keep "$left"
elif keep "$2"; then
    left=$2
fi
[ "$left" -gt 0 ] || left=0
end='shutdown -h now; sleep 120; poweroff -f'
if [ -d /run/systemd/system ]; then
    systemd-run --no-block --unit=gpurun-deadline --on-active="$left" --timer-property=AccuracySec=1s \\
        --timer-property=DefaultDependencies=no --property=DefaultDependencies=no sh -c "$end"
elif [ "$left" -gt 0 ]; then
    shutdown -h +$(( (left + 59) / 60 )) 'gpurun: the deadline of this run' &
fi </dev/null >/dev/null 2>&1
setsid sh -c "sleep $left; $end" </dev/null >/dev/null 2>&1 &
"""

# $1: how many seconds it lives. Of a machine that begins by itself nobody knew the time when this was written: it
# counts from its first boot.
_BORN = """
born=${STATE_DIRECTORY:-/var/lib/gpurun}/born
[ -s "$born" ] || { mkdir -p "${born%/*}" && date +%s >"$born"; }
set -- $(( $(cat "$born") + $1 )) "$1"
"""

# $1: after how many seconds. A launcher that died after the purchase and before the job's start leaves a machine that
# nobody knows of. One where a job was ever started has the agent's word and keeps its deadline; one that is being
# filled, or waits to be moved to, has an agent running. Where processes cannot be looked for, nothing is done.
_UNCLAIMED = """
setsid sh -c '
sleep "$0"
while command -v pgrep; do
    for state in /home/*/gpurun/*/state /root/gpurun/*/state; do [ ! -e "$state" ] || exit 0; done
    pgrep -f "gpurun/[a]gent-" || { shutdown -h now; sleep 120; poweroff -f; }
    sleep 60
done' "$1" </dev/null >/dev/null 2>&1 &
"""

# A line with loss brings results home several times as fast; an image that cannot is left as it is.
_CONGESTION = """
modprobe tcp_bbr 2>/dev/null
sysctl -qw net.core.default_qdisc=fq net.ipv4.tcp_congestion_control=bbr 2>/dev/null || true
"""


def user_data(
    *,
    deadline: datetime,
    host_key_private: str,
    host_key_public: str,
    authorized_key: str | None = None,
    asked_at: datetime | None = None,
) -> str:
    """The cloud-config of a run's machine: the deadline first, then the host key that the launcher pinned.

    `authorized_key` is the public line of whoever may come in. `asked_at` is when the machine was first asked for; now,
    where it is left out. The same values give the same text, which EC2's idempotency asks for. Written as JSON, which
    is YAML, so that no quoting can go wrong. `bootcmd` runs at every boot and before SSH. Source: cloud-init
    documentation, modules Bootcmd and SSH.
    """
    left_s = math.ceil(seconds_left(deadline, asked_at))
    config = {
        "bootcmd": [
            ["sh", "-c", _GUARD, "gpurun-deadline", str(math.ceil(deadline.timestamp())), str(left_s)],
            ["sh", "-c", _UNCLAIMED, "gpurun-unclaimed", str(UNCLAIMED_S)],
            ["sh", "-c", _CONGESTION],
        ],
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": host_key_private, "ed25519_public": host_key_public},
        "ssh_authorized_keys": [authorized_key.strip()] if authorized_key else [],
        "ssh_pwauth": False,
        "disable_root": True,
    }
    return "#cloud-config\n" + json.dumps(config, indent=1)


def boot_commands_for(hours: float) -> list[list[str]]:
    """The `bootcmd` of a machine that begins by itself, and ends so many hours after its first boot."""
    return [
        ["sh", "-c", _BORN + _GUARD, "gpurun-deadline", str(math.ceil(hours * 3600))],
        ["sh", "-c", _CONGESTION],
    ]


def seconds_left(deadline: datetime, now: datetime | None = None) -> float:
    """Seconds until the deadline, never negative."""
    return max(0.0, (deadline - (now or datetime.now(UTC))).total_seconds())
