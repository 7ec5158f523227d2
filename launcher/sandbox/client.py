"""The sandbox's own API from Python: what AWS has no call for."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from launcher.errors import GpurunError

_TIMEOUT_S = 30.0


class SandboxClient:
    """Speaks to a running sandbox's admin API; every method raises `GpurunError` where the sandbox refuses."""

    def __init__(self, endpoint_url: str) -> None:
        self._base = f"{endpoint_url}/_sandbox"
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def instances(self) -> list[dict[str, Any]]:
        """Every instance of every region that EC2 still shows, with its host."""
        return list(self._ask("GET", "instances"))

    def status(self) -> dict[str, Any]:
        """The kind of hosts, and how many instances are in which state."""
        return dict(self._ask("GET", "status"))

    def fault(self, rule: Mapping[str, Any]) -> dict[str, Any]:
        """Put a fault in force: {match: {service, action, region, params}, effect: {error, delay_s, drop}, times}."""
        return dict(self._ask("POST", "faults", rule))

    def faults(self) -> list[dict[str, Any]]:
        """Every fault with its counters."""
        return list(self._ask("GET", "faults"))

    def clear_faults(self) -> None:
        """Lift all faults."""
        self._ask("DELETE", "faults")

    def lift_fault(self, rule_id: int) -> None:
        """Lift one of them, whatever its times."""
        self._ask("DELETE", f"faults/{rule_id}")

    def interrupt(self, instance_id: str, in_s: float = 120.0) -> dict[str, Any]:
        """Give a spot instance its notice, and end it `in_s` seconds from now."""
        return self._act(instance_id, "interrupt", {"in_s": in_s})

    def rebalance(self, instance_id: str) -> dict[str, Any]:
        """Show a rebalance recommendation in its metadata."""
        return self._act(instance_id, "rebalance", {})

    def kill(self, instance_id: str) -> dict[str, Any]:
        """Sudden death of its host; EC2 goes on showing it as running."""
        return self._act(instance_id, "kill", {})

    def partition(self, instance_id: str, *, cut: bool = True) -> dict[str, Any]:
        """Cut its network, or heal it."""
        return self._act(instance_id, "partition", {"cut": cut})

    def fill(self, instance_id: str, leave_bytes: int = 0) -> dict[str, Any]:
        """Fill its disk but for that much; needs a host with a disk of its own (`settings(disk_bytes=...)`)."""
        return self._act(instance_id, "fill", {"leave_bytes": leave_bytes})

    def empty(self, instance_id: str) -> dict[str, Any]:
        """Undo `fill`."""
        return self._act(instance_id, "fill", {"leave_bytes": None})

    def console(self, instance_id: str) -> str:
        """The end of what its console printed, also after it was terminated."""
        return str(self._ask("GET", f"instances/{instance_id}/console")["console"])

    @property
    def address(self) -> str:
        """The address under which the cloud sees this computer."""
        return str(self._ask("GET", "address")["address"])

    def move(self, address: str) -> None:
        """Give this computer another address: connections from the old one go silent, for good."""
        self._ask("POST", "address", {"address": address})

    @contextmanager
    def faulty(self, rule: Mapping[str, Any]) -> Iterator[None]:
        """Have a fault in force for a while, as often as it is met: credentials that expire, and are renewed."""
        made = self.fault({"times": -1, **rule})
        try:
            yield
        finally:
            self.lift_fault(made["id"])

    def journal(self) -> list[dict[str, Any]]:
        """The last few thousand calls, oldest first."""
        return list(self._ask("GET", "journal"))

    def clear_journal(self) -> None:
        """Forget them."""
        self._ask("DELETE", "journal")

    def settings(self, **changes: Any) -> dict[str, Any]:
        """All settings, after turning the given ones: pending_s, boot_delay_s, shutting_down_s, quotas ..."""
        return dict(self._ask("POST", "settings", changes) if changes else self._ask("GET", "settings"))

    def _act(self, instance_id: str, verb: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return dict(self._ask("POST", f"instances/{instance_id}/{verb}", body))

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"}
        url = f"{self._base}/{path}"
        request = urllib.request.Request(url, data=data, method=method, headers=headers)  # noqa: S310 - our own address
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                reason = json.load(error).get("error", str(error))
            raise GpurunError(f"the sandbox refuses: {reason}", hint="gpurun sandbox status") from None
        except OSError as error:
            raise GpurunError(f"the sandbox does not answer: {error}", hint="gpurun sandbox start") from None
