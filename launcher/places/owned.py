"""A machine of the user's own as the place of a run; each function is `seam.Place`'s.

Nothing is bought and nothing shut down: of the run, only its job is ended and its folder removed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from launcher.aws.refusals import Pool
from launcher.domain import Endpoint, HostKey, Instance, JobSpec, Market, Segment
from launcher.errors import CommandFailed, HostUnreachable, NoPython, OutOfReach
from launcher.ledger import RunRecord
from launcher.lifeline import STOP_GRACE_S, seconds_left
from launcher.live import LiveRun
from launcher.paths import StatePaths
from launcher.places.address import Address, parse
from launcher.ports import Connection, Lines
from launcher.sync import remote_agent
from launcher.sync.pipes import PipeLines
from launcher.sync.wire.lines import Lines as SshLines

CONNECT_TIMEOUT_S = 10.0

replaceable = False


def address_of(record: RunRecord) -> Address:
    """The machine that a run is on."""
    return parse(record.place) or Address()


def lines_to(address: Address, spec: JobSpec, host_keys: tuple[HostKey, ...], state: StatePaths) -> Lines:
    """The lines to a machine of the user's own: pipes where it is this one, else SSH by his own configuration."""
    if address.here:
        return PipeLines(state.here)
    return SshLines(endpoint(address, spec, host_keys))


def endpoint(address: Address, spec: JobSpec, host_keys: tuple[HostKey, ...]) -> Endpoint:
    """Where SSH finds the machine; ssh_config, agent keys and jumps count as for ssh itself."""
    return Endpoint(
        address=address.host,
        user=address.user,
        port=address.port,
        host_keys=host_keys,
        key_file=spec.ssh.key,
        config_file=spec.ssh.config_file,
        proxy=spec.ssh.proxy,
    )


def apart(live: LiveRun) -> bool:
    """What lies on this machine is at home already."""
    return not address_of(live.record).here


def find(live: LiveRun, region: str) -> Sequence[Instance]:  # noqa: ARG001  (it has none)
    """The machine: it is always there, whether it answers or not, until the run is over."""
    return [] if live.record.status.final else [_instance(live)]


def make(
    live: LiveRun,
    segment: int,  # noqa: ARG001  (there is one machine)
    *,
    avoid: frozenset[Pool],  # noqa: ARG001  (likewise)
    wait_until: datetime | None,  # noqa: ARG001  (likewise)
) -> Instance:
    """The machine, which needs no making."""
    return _instance(live)


def _instance(live: LiveRun) -> Instance:
    address = address_of(live.record)
    return Instance(
        instance_id=address.name,
        instance_type=address.name,
        region="",
        zone="",
        market=Market.YOURS,
        state="running",
        public_address=address.host or "localhost",
        private_address=None,
        launched_at=None,
    )


def arm(live: LiveRun, instance: Instance, segment: int) -> None:
    """Nothing: the agent ends the job at the deadline, and the machine stays."""


def ready(live: LiveRun, instance: Instance) -> Instance:  # noqa: ARG001  (it does not boot for us)
    """The machine as it is."""
    return instance


def lines(live: LiveRun, instance: Instance) -> Lines:  # noqa: ARG001  (there is one machine)
    """The lines to the machine, with the host keys that were trusted when the run was made."""
    return lines_to(address_of(live.record), live.spec, live.pinned(), live.state)


def let_in(live: LiveRun, region: str) -> None:
    """Nothing: its door is its owner's."""


def end(live: LiveRun, segment: Segment) -> None:
    """Nothing: no run moves from it to another."""


def vacate(live: LiveRun) -> None:
    """End the job and remove the run's folder, once what it holds is home or the user has given it up.

    Raises `OutOfReach` where a job may still run that nobody can end now, and `RemoteError` for what the machine
    refuses: the run then stays `terminating`.
    """
    if not live.ledger.segments(live.run_id):
        return  # nothing was ever sent there
    address = address_of(live.record)
    to_it = lines(live, _instance(live))
    try:
        connection = to_it.control.fresh(CONNECT_TIMEOUT_S)
        remove = live.has_event("fetched") or live.has_event("given.up") or not _worked(live, connection)
        remote_agent.discard(connection, live.layout, remove=remove)
    except (NoPython, CommandFailed) as error:
        if live.has_event("job.intent"):  # a job may run there: python3 was on the PATH then
            raise
        live.event("vacated", removed=False, error=error.message)
    except HostUnreachable as error:
        _leave(live, address, error)
    else:
        live.event("vacated", removed=remove)
        if not remove:
            live.reporter.warn(f"what did not come home stays in {folder(live)} on {address.name}")
    finally:
        to_it.close()
    live.ledger.end_segment(live.run_id, live.record.segment)


def _worked(live: LiveRun, connection: Connection) -> bool:
    """Whether a job may have written something there; one whose start was never answered is asked for."""
    if live.has_event("job.started") or not live.has_event("job.intent"):
        return live.has_event("job.started")
    report = remote_agent.report(connection, live.layout)
    return report.state not in {"absent", "lost"} or report.log_bytes > 0


def _leave(live: LiveRun, address: Address, error: HostUnreachable) -> None:
    """End the run though its machine does not answer, unless its job may still run there."""
    over = live.has_event("job.done") or seconds_left(live.deadline) == 0
    if live.has_event("job.intent") and not over:
        raise OutOfReach(
            f"{address.name} does not answer: the job there could not be ended, and ends by itself "
            f"at {live.deadline:%Y-%m-%d %H:%M:%S} UTC at the latest ({error.message})",
            hint=f"gpurun down {live.run_id} once {address.name} answers",
        ) from error
    live.event("vacated", removed=False, error=error.message)
    live.reporter.warn(f"{address.name} does not answer: {folder(live)} stays there, to be removed by hand")


def folder(live: LiveRun) -> str:
    """Where the run lies on its machine, for people."""
    if address_of(live.record).here:
        return str(live.state.here / live.layout.home)
    return f"~/{live.layout.home}"


def left(live: LiveRun, *, held: bool) -> str:
    """Its job ends, it stays."""
    name = address_of(live.record).name
    if held:
        return f"the results wait in {folder(live)} on {name}"
    return (
        f"the job on {name} ends at {live.deadline:%Y-%m-%d %H:%M:%S} UTC at the latest, "
        f"with {STOP_GRACE_S:.0f} s to save, and what it wrote waits there"
    )
