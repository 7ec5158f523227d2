"""From `pending` to `terminated`: what the cloud says of an instance, and the host that makes it true."""

from __future__ import annotations

import ipaddress
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from moto.ec2.models.instances import StateReason

from launcher.errors import GpurunError
from launcher.sandbox.cloud import metadata, security_groups
from launcher.sandbox.cloud.clock import Clock
from launcher.sandbox.cloud.contents import Contents
from launcher.sandbox.cloud.guest import Guest
from launcher.sandbox.cloud.settings import Settings
from launcher.sandbox.cloud.ssh_config import write_ssh_config
from launcher.sandbox.layout import SandboxPaths
from launcher.sandbox.machine import Driver, Ending, Host, Machine

log = logging.getLogger(__name__)

BY_GUEST = StateReason(
    "Client.InstanceInitiatedShutdown: Instance initiated shutdown", "Client.InstanceInitiatedShutdown"
)
BY_SPOT = StateReason("Server.SpotInstanceTermination: Spot instance termination", "Server.SpotInstanceTermination")
BY_FAULT = StateReason("Server.InternalError: Internal error on launch", "Server.InternalError")
_WORKERS = 12


class Machines:
    """All instances. Hosts boot and go in a pool of threads; `lock`, which guards moto, is never held for that."""

    def __init__(
        self,
        *,
        driver: Driver | None,
        state: Path,
        cloud_port: int,
        settings: Callable[[], Settings],
        settings_of_next: Callable[[], Settings],
        lock: threading.RLock,
    ) -> None:
        self._driver = driver
        self._state = state
        self._cloud_port = cloud_port
        self._settings = settings
        self._settings_of_next = settings_of_next
        self._lock = lock
        self._guests: dict[str, Guest] = {}
        self._clock = Clock()
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="sandbox-host")
        self._writing = threading.Lock()
        self._closing = False
        self.contents = Contents(state / "snapshots")
        self.laptop_address = "127.0.0.1"

    def listed(self) -> list[Guest]:
        """Every instance that EC2 still shows, oldest first."""
        with self._lock:
            return list(self._guests.values())

    def get(self, instance_id: str) -> Guest:
        """One of them; raises `KeyError`."""
        return self._guests[instance_id]

    # What the cloud's API asks for; called with the lock held, returns at once.

    def launched(self, instance: Any) -> None:
        """A new instance was made."""
        pairs = instance.ec2_backend.key_pairs
        key = pairs[instance.key_name].public_key.strip() if instance.key_name in pairs else None
        guest = Guest(
            instance=instance,
            user_data=metadata.decoded_user_data(instance),
            authorized_key=key,
            mac=instance.nics[0].mac_address,
            birth=self._settings_of_next(),
        )
        self.contents.give(guest)
        instance.machines = self
        self._guests[guest.id] = guest
        self._later(self._settings().pending_s, partial(self._boot, guest))

    def starting(self, instance: Any) -> None:
        """A stopped instance is to run again, with the disk that it had."""
        self._later(self._settings().pending_s, partial(self._boot, self._guests[instance.id]))

    def stopping(self, instance: Any) -> None:
        """A running instance is to stop."""
        self._later(self._settings().shutting_down_s, partial(self._power_down, self._guests[instance.id]))

    def rebooting(self, instance: Any) -> None:
        """A running instance is to restart."""
        self._later(0.0, partial(self._restart, self._guests[instance.id]))

    def check_disk(self, instance: Any) -> None:
        """Raise `GpurunError` where no image can be made of its disk."""
        host = self._guests[instance.id].host
        if host is not None:
            host.check_disk()

    def save_disk(self, instance: Any, save: Callable[[Host | None], None], *, restart: bool) -> None:
        """Have `save` called with its host, which is down meanwhile where it is to `restart`."""
        self._later(0.0, partial(self._save_disk, self._guests[instance.id], save, restart))

    def in_background(self, work: Callable[[], None]) -> None:
        """Do something that takes long, without the lock."""
        self._later(0.0, work)

    def terminate(self, instance: Any, reason: StateReason) -> None:
        """An instance is to end, whatever it does; the first reason counts."""
        guest = self._guests[instance.id]
        if guest.wanted:
            guest.wanted = False
            instance.set_state("shutting-down", reason)
            self._later(self._settings().shutting_down_s, partial(self._remove, guest))

    def forget_old(self) -> None:
        """Drop what has been terminated for an hour, as EC2 does."""
        oldest = time.monotonic() - self._settings().terminated_visible_s
        for guest in [g for g in self._guests.values() if g.gone_at is not None and g.gone_at < oldest]:
            del self._guests[guest.id]
            reservations = guest.instance.ec2_backend.reservations
            for reservation in list(reservations.values()):
                reservation.instances = [i for i in reservation.instances if i.id != guest.id]
                if not reservation.instances:
                    del reservations[reservation.id]

    # What the sandbox's own API asks for.

    def interrupt(self, guest: Guest, in_s: float) -> None:
        """Give the two-minute notice of a spot interruption, and keep the word."""
        guest.notice_at = time.time() + in_s
        self._clock.after(in_s, partial(self._terminate_locked, guest, BY_SPOT))

    def recommend_rebalance(self, guest: Guest) -> None:
        """Say that the instance is at an elevated risk of interruption."""
        guest.rebalance_at = time.time()

    def kill(self, guest: Guest) -> None:
        """Sudden death: the host is gone, while EC2 goes on showing it as running."""
        with guest.lifting:
            if guest.host is not None and not guest.dead:
                guest.dead = True
                guest.host.kill()

    def partition(self, guest: Guest, *, cut: bool) -> None:
        """Cut or heal the host's network."""
        with guest.lifting:
            guest.cut = cut
            if guest.host is not None:
                guest.host.partition(cut=cut)

    def fill(self, guest: Guest, leave_bytes: int | None) -> None:
        """Leave that much room on the host's disk, or all of it again; raises `GpurunError` where it cannot."""
        with guest.lifting:
            if guest.host is None:
                raise GpurunError(f"{guest.id} has no host", hint="gpurun sandbox status")
            guest.host.fill(leave_bytes)

    def move_laptop(self, address: str) -> None:
        """From now on the laptop has this address: lines from the old one are left in the air."""
        self.laptop_address = str(ipaddress.ip_address(address))
        for guest in self.listed():
            with guest.lifting:
                if guest.host is not None:
                    guest.host.strand()

    def close(self) -> None:
        """Release every host, in parallel, and end all threads."""
        self._closing = True
        self._clock.close()
        for guest in self.listed():
            guest.wanted = False
            self._pool.submit(self._release_host, guest)
        self._pool.shutdown(wait=True)
        if self._driver is not None:
            self._driver.close()
        self.contents.close()

    def _admits(self, instance: Any, peer: str, port: int) -> bool:
        """All callers are on this computer; the cloud sees them under the address that the laptop has at present."""
        here = ipaddress.ip_address(peer).is_loopback
        return security_groups.admits(instance, self.laptop_address if here else peer, port)

    # What happens in the pool.

    def _later(self, delay_s: float, work: Callable[[], None]) -> None:
        if self._closing:
            return
        if delay_s > 0:
            self._clock.after(delay_s, partial(self._submit, work))
        else:
            self._submit(work)

    def _submit(self, work: Callable[[], None]) -> None:
        self._pool.submit(_logged, work)

    def _boot(self, guest: Guest) -> None:
        with guest.lifting:
            if not guest.wanted:
                return
            if not self._lift(guest):
                self._terminate_locked(guest, BY_FAULT)
                return
            if not guest.birth.disk_bytes:  # one in memory begins anew with it after each reboot
                self.contents.let_go(guest)
        self._write_ssh_config()
        with self._lock:
            if guest.wanted:
                guest.instance.set_state("running")

    def _lift(self, guest: Guest) -> bool:
        """Give the guest a host; whether there is one now, or none is needed."""
        guest.dead = False
        if self._driver is None:
            return True
        try:
            guest.host = self._driver.boot(self._machine(guest))
        except GpurunError as error:
            log.error("%s does not boot: %s (%s)", guest.id, error.message, error.hint)  # noqa: TRY400 - it says all
            return False
        if guest.cut:
            guest.host.partition(cut=True)
        return True

    def _machine(self, guest: Guest) -> Machine:
        instance = guest.instance
        return Machine(
            instance_id=guest.id,
            hostname=instance.private_dns_name.partition(".")[0],
            private_address=instance.private_ip,
            public_address=instance.public_ip or "",
            user_data=guest.user_data,
            authorized_key=guest.authorized_key,
            boot_delay_s=guest.birth.boot_delay_s,
            content=self.contents.of(guest),
            disk_bytes=guest.birth.disk_bytes,
            clock_ahead_s=guest.birth.clock_ahead_s,
            folder=self._state / "hosts" / guest.id,
            cloud_port=self._cloud_port,
            metadata=partial(metadata.answer, guest),
            admits=partial(self._admits, instance),
            ended=partial(self._ended, guest),
        )

    def _ended(self, guest: Guest, ending: Ending) -> None:
        """The host went down by itself."""
        log.info("%s ended: %s", guest.id, ending.value)
        if ending is Ending.DIED:
            guest.dead = True
        elif ending is Ending.REBOOT:
            self._later(0.0, partial(self._boot, guest))
        elif guest.instance.instance_initiated_shutdown_behavior == "terminate":
            self._terminate_locked(guest, BY_GUEST)
        else:
            self._stopped(guest, BY_GUEST)

    def _terminate_locked(self, guest: Guest, reason: StateReason) -> None:
        with self._lock:
            self.terminate(guest.instance, reason)

    def _power_down(self, guest: Guest) -> None:
        with guest.lifting:
            if guest.host is not None and guest.wanted:
                guest.host.kill()
        self._stopped(guest, None)

    def _stopped(self, guest: Guest, reason: StateReason | None) -> None:
        with self._lock:
            if guest.wanted:
                guest.instance.state_reason = reason or guest.instance.state_reason
                guest.instance.finish_stop()

    def _restart(self, guest: Guest) -> None:
        with guest.lifting:
            if guest.wanted and guest.host is not None:
                guest.host.kill()
        self._boot(guest)

    def _save_disk(self, guest: Guest, save: Callable[[Host | None], None], restart: bool) -> None:
        with guest.lifting:
            if restart and guest.wanted and guest.host is not None:
                guest.host.kill()
            save(guest.host)
        if restart:
            self._boot(guest)

    def _remove(self, guest: Guest) -> None:
        self._release_host(guest)
        self.contents.let_go(guest)
        self._write_ssh_config()
        with self._lock:
            guest.instance.finish_terminate()
            guest.gone_at = time.monotonic()

    def _write_ssh_config(self) -> None:
        if self._driver is not None:
            with self._writing:
                write_ssh_config(SandboxPaths(self._state).ssh_config, self.listed())

    def _release_host(self, guest: Guest) -> None:
        with guest.lifting:
            if guest.host is not None:
                guest.last_words = guest.console()
            host, guest.host = guest.host, None
            if host is not None:
                _logged(host.release)


def _logged(work: Callable[[], None]) -> None:
    """Run it; what goes wrong in a thread of the pool would else vanish."""
    try:
        work()
    except Exception:  # the pool's thread is the last that can tell of it
        log.exception("failed in the background")
