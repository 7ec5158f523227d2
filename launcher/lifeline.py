"""The deadline that ends every machine on time, whoever dies first.

Layer 1 is here: user-data whose first act is to set an absolute power-off, before SSH, before anything can hang.
With `InstanceInitiatedShutdownBehavior=terminate` a power-off is the end of the bill, and it needs neither network
nor credentials. Layer 3 (this laptop) is `runs`, the agent's lease and `gc`.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

RESULTS_GRACE_S = 1800.0
"""How long a finished job's machine waits for somebody to come for the results."""
LEASE_S = 60.0
"""How long an attached launcher's lease lasts; it renews it many times over."""
STOP_GRACE_S = 90.0
"""How long a job has between SIGTERM and SIGKILL: inside EC2's two-minute notice."""

# Both a minute-exact OS shutdown (which an administrator sees and can cancel) and a second-exact timer: either
# suffices. Not every image has systemd; `sleep` counts on the monotonic clock, so a clock step cannot stretch it.
_GUARD = """
left=$(( $1 - $(date +%s) ))
[ "$left" -gt 0 ] || exec shutdown -h now
shutdown -h +$(( (left + 59) / 60 )) 'gpurun: the deadline of this run'
systemd-run --on-active="$left" --unit=gpurun-deadline shutdown -h now 2>/dev/null && exit 0
setsid sh -c "sleep $left; shutdown -h now" </dev/null >/dev/null 2>&1 &
"""

# A line with loss brings results home several times as fast; an image that cannot is left as it is.
_CONGESTION = """
modprobe tcp_bbr 2>/dev/null
sysctl -qw net.core.default_qdisc=fq net.ipv4.tcp_congestion_control=bbr 2>/dev/null || true
"""


def user_data(*, deadline: datetime, host_key_private: str, host_key_public: str) -> str:
    """The cloud-config of a run's machine: the deadline first, then the host key that the launcher pinned.

    Written as JSON, which is YAML, so that no quoting can go wrong. `bootcmd` runs at every boot and before SSH:
    an absolute deadline survives a reboot. Source: cloud-init documentation, modules Bootcmd and SSH.
    """
    config = {
        "bootcmd": [
            ["sh", "-c", _GUARD, "gpurun-deadline", str(int(deadline.timestamp()))],
            ["sh", "-c", _CONGESTION],
        ],
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": host_key_private, "ed25519_public": host_key_public},
        "ssh_pwauth": False,
        "disable_root": True,
    }
    return "#cloud-config\n" + json.dumps(config, indent=1)


def seconds_left(deadline: datetime, now: datetime | None = None) -> float:
    """Seconds until the deadline, never negative."""
    return max(0.0, (deadline - (now or datetime.now(UTC))).total_seconds())
