"""Every error that gpurun raises on purpose; `cli.main` maps each to its exit code.

GpurunError                1   anything of ours that fits nowhere below
  SpecError                2   the spec, the command line or a local file is wrong
  CredentialsError         3   no, wrong or expired AWS credentials
  ProvisionError           4   no machine could be had
    NoCapacity                   the pool is empty at present
    QuotaExceeded                the account may not have that many
    PriceTooHigh                 nothing under the price cap
    NotPermitted                 IAM says no
    BrokenRequest                AWS does not understand what we asked for
    NotArmed                     no kill switch in the cloud; a run goes on without it
  RemoteError              5   the machine or the way to it
    HostUnreachable
      OutOfReach                 a machine of the user's own, for as long as was waited
    HostKeyMismatch
    CommandFailed
    TransferError
  WeightsError             6   weights that cannot be trusted or opened
    ChampionMoved                another promotion came first
  LedgerError              7   the local state folder
  BudgetExceeded           8   a limit of money or time
Cancelled                130   Ctrl-C, answered with "stop"
"""

from __future__ import annotations


class GpurunError(Exception):
    """A mistake or misfortune that a user can act on: what happened, and `hint`, the next thing to do."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SpecError(GpurunError):
    """The spec, the command line or a local file is wrong; `problems` holds one line for each mistake."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str = "", problems: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems


class CredentialsError(GpurunError):
    """AWS credentials are missing, wrong or expired."""

    exit_code = 3


class ProvisionError(GpurunError):
    """No machine could be had; `code` is the AWS error code where there was one."""

    exit_code = 4

    def __init__(self, message: str, *, hint: str = "", code: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class NoCapacity(ProvisionError):
    """AWS has no machine of that kind in that zone at present."""


class QuotaExceeded(ProvisionError):
    """The account's quota does not allow it, whatever the zone."""


class PriceTooHigh(ProvisionError):
    """No offer lies under the price cap."""


class NotPermitted(ProvisionError):
    """The identity lacks a permission."""


class BrokenRequest(ProvisionError):
    """AWS refuses the request as it stands: an unknown image, type, zone or region."""


class NotArmed(ProvisionError):
    """The kill switch in the cloud could not be set or removed; told as a warning, since a run is safe without it."""


class RemoteError(GpurunError):
    """The machine, or the way to it, failed."""

    exit_code = 5


class HostUnreachable(RemoteError):
    """No SSH connection could be made in time."""


class OutOfReach(HostUnreachable):
    """A machine that no other can replace was waited for in vain; what runs there goes on."""


class NoPython(RemoteError):
    """The machine has no python3, so that no agent can run there."""


class HostKeyMismatch(RemoteError):
    """Another host answers than the one whose key is pinned; refused before authentication."""


class MachineGone(RemoteError):
    """The run's machine ended before its work was home: interrupted, dead, or past its deadline.

    `reason` is EC2's code for its end (Server.SpotInstanceTermination ...), where it gave one.
    """

    def __init__(self, message: str, *, hint: str = "", reason: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class CommandFailed(RemoteError):
    """A command on the machine ended with a status other than 0."""

    def __init__(self, message: str, *, hint: str = "", status: int = 1, stderr: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.stderr = stderr


class TransferError(RemoteError):
    """Files did not arrive whole, or must not be accepted."""


class WeightsError(GpurunError):
    """Weights that are corrupt, or that carry more than names and arrays."""

    exit_code = 6


class ChampionMoved(WeightsError):
    """The champion is another than the one that a promotion was decided against; nothing was changed."""


class LedgerError(GpurunError):
    """The local state folder cannot be read or written."""

    exit_code = 7


class BudgetExceeded(GpurunError):
    """A limit of money or time does not allow it."""

    exit_code = 8


class Cancelled(GpurunError):
    """The user asked for the end of it."""

    exit_code = 130
