"""The plan of a comparison: a plan for each of its runs, one text, one price, one question."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from launcher import render
from launcher.commands import own, planning, planview, session
from launcher.domain import Device, FloatX
from launcher.errors import SpecError

if TYPE_CHECKING:
    from launcher.aws.client import Aws
    from launcher.compare.groups import Group
    from launcher.compare.places import Place
    from launcher.comparison import Comparison
    from launcher.domain import Account, ComparisonWish, JobSpec, Plan
    from launcher.ledger import Ledger
    from launcher.paths import StatePaths
    from launcher.places.arrange import Arranged
    from launcher.ports import Reporter
    from launcher.sync.ssh.first_contact import Trust

SHOWN_LEGS = 16
MOST_AT_ONCE = 4
WITHOUT_BFLOAT16 = frozenset({"t4", "t4g", "v100", "m60", "k80", "k520", "p4", "p100"})
"""NVIDIA GPUs before compute capability 8.0 (CUDA C++ Programming Guide, "Arithmetic Instructions")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One run with its plan."""

    group: Group
    spec: JobSpec
    """As it goes to the run."""
    plan: Plan
    account: Account
    cloud: Aws | None
    """`None`: the machine is the user's own."""
    own: Arranged | None = None
    """How that one was found to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """Which cloud is meant, and how a machine of the user's own shows that it is that."""

    sandbox: bool = False
    profile: str | None = None
    region: list[str] | None = None
    spot: str | None = None
    accept_host_key: str | None = None


def on_own(group: Group, *, state: StatePaths, trust: Trust) -> Planned:
    """A run on a machine of the user's own, which is looked at.

    Raises `SpecError` for one that has no GPU where there are GPU legs alone, and what `arrange` raises.
    """
    from launcher.domain import Account
    from launcher.places.address import parse
    from launcher.places.arrange import arrange

    address = parse(group.place.name)
    assert address is not None  # noqa: S101 - for the type checker: a place of AWS's is no address
    found = arrange(group.spec, address, state=state, trust=trust)
    if found.found.gpu is None and all(leg.leg.device is Device.GPU for leg in group.legs):
        raise SpecError(
            f"nvidia-smi shows no GPU on {address.name}, and there are GPU legs alone to run on it",
            hint="--devices cpu, or --on same for a machine of AWS's",
        )
    return Planned(group=group, spec=found.spec, plan=found.plan, account=Account(), cloud=None, own=found)


def check_cloud(found: Sequence[Group], cloud: Cloud) -> None:
    """Raise `SpecError` for options that nothing is there for: AWS's where nothing runs there, SSH's likewise."""
    if not any(group.place.rented for group in found):
        asked = {
            "--sandbox": cloud.sandbox,
            "--profile": cloud.profile,
            "--region": cloud.region,
            "--spot": cloud.spot,
        }
        for group in found:
            own.address(group.place.name, asked)
    if cloud.accept_host_key and not any(group.place.name.startswith("ssh://") for group in found):
        raise SpecError("--accept-host-key is for --on ssh://...", hint="leave it out")


def all_of(
    found: Sequence[Group], cloud: Cloud, book: Ledger, reporter: Reporter, *, rehearsal: bool
) -> tuple[Planned, ...]:
    """A plan for each run: first those on the user's own machines, who may be asked, then AWS's side by side.

    Raises what keeps any of them from its results, before one is launched.
    """
    from launcher import prepare

    prepare.check_key(found[0].spec, reporter)
    trust = own.trust(cloud.accept_host_key)
    mine = {group.place: on_own(group, state=session.state(), trust=trust) for group in found if not group.place.rented}
    rented = [group for group in found if group.place.rented]
    theirs = _on_aws(rented, cloud, book, rehearsal=rehearsal) if rented else {}
    planned = tuple((mine | theirs)[group.place] for group in found)
    _check(planned, reporter, rehearsal=rehearsal)
    return planned


def _on_aws(found: Sequence[Group], cloud: Cloud, book: Ledger, *, rehearsal: bool) -> dict[Place, Planned]:
    from launcher import plan

    account = session.account(sandbox=cloud.sandbox, profile=cloud.profile, region=planning.home_region(cloud.region))
    known = planning.known(book, account, found[0].spec.name, None)

    def planned(group: Group) -> Planned:
        aws = planning.cloud(account, group.spec.resources, rehearsal=rehearsal)
        made = plan.make(group.spec, aws, book.cache, known=known, rehearsal=rehearsal)
        return Planned(group=group, spec=group.spec, plan=made, account=account, cloud=aws)

    with ThreadPoolExecutor(min(MOST_AT_ONCE, len(found))) as pool:
        return dict(zip([group.place for group in found], pool.map(planned, found), strict=True))


def _check(planned: Sequence[Planned], reporter: Reporter, *, rehearsal: bool) -> None:
    from launcher import order, outputs
    from launcher.spec import check_legs

    for each in planned:
        check_legs(each.spec)
        order.check_secrets(each.spec)
        if each.cloud is not None:
            outputs.check(each.spec, each.cloud, each.plan, reporter, rehearsal=rehearsal)


def max_cost_usd(planned: Sequence[Planned]) -> float:
    """The most that all runs together can cost."""
    return sum(each.plan.max_cost_usd for each in planned)


def doubts(
    spec: JobSpec, asked: ComparisonWish, planned: Sequence[Planned], earlier: Sequence[Comparison]
) -> tuple[str, ...]:
    """What to know of the legs before money or hours go into them; `earlier` ones of that name, newest first."""
    from launcher.compare.lasting import too_short

    every = [leg for each in planned for leg in each.group.legs]
    cpu_halves = [each.leg.name for each in every if (each.leg.device, each.leg.floatx) == (Device.CPU, FloatX.FLOAT16)]
    said = []
    if cpu_halves:
        said.append(
            f"{', '.join(cpu_halves)}: processors only emulate float16, over a hundred times slower than float32"
            " (measured); bfloat16 is their half type"
        )
    for each in planned:
        kinds = {offer.gpu.kind for offer in each.plan.offers if offer.gpu} & WITHOUT_BFLOAT16
        halves = [leg.leg.name for leg in each.group.legs if leg.leg.device is Device.GPU]
        legs = [leg.leg for leg in each.group.legs]
        if short := too_short(legs, asked.repeats or 1, each.plan.hours, earlier):
            said.append(short)
        if kinds and any("bfloat16" in name for name in halves):
            said.append(f"{', '.join(sorted(kinds))} has no bfloat16 arithmetic: there it is emulated by float32")
    if asked.backends and spec.script and "GPURUN_BACKEND" not in spec.script and "-m jobs" not in spec.script:
        said.append("the script does not look at GPURUN_BACKEND: the legs of all backends may do the same")
    return tuple(said)


def text(planned: Sequence[Planned], warnings: Sequence[str], *, repeats: int) -> str:
    """The legs, each run's best pools, and what all of it costs at most."""
    count = sum(len(each.group.legs) for each in planned)
    times = "once each" if repeats == 1 else f"{repeats} times each, in turn"
    lines = [f"{count} legs, {times}, in {'1 run' if len(planned) == 1 else f'{len(planned)} runs'}"]
    for each in planned:
        names = [leg.leg.name for leg in each.group.legs]
        more = f" and {len(names) - SHOWN_LEGS} more" if len(names) > SHOWN_LEGS else ""
        lines += ["", f"{each.spec.name}: {', '.join(names[:SHOWN_LEGS])}{more}"]
        if each.own is None:
            lines.append(planview.text(each.spec, each.plan, rows=3))
        else:
            lines.append(own.text(each.spec, each.own))
    lines += [f"warning: {warning}" for warning in warnings]
    if len(planned) > 1:
        lines += ["", f"together at most {max_cost_usd(planned):.2f} USD"]
    return "\n".join(lines)


def show(planned: Sequence[Planned], warnings: Sequence[str], *, repeats: int, as_json: bool) -> None:
    """Tell it on standard error, or as a `plan` event for each run."""
    if not as_json:
        sys.stderr.write(text(planned, warnings, repeats=repeats) + "\n")
        return
    for each in planned:
        render.print_json(
            {
                "event": "plan",
                "name": each.spec.name,
                "place": each.group.place.name,
                "legs": [leg.leg for leg in each.group.legs],
                "repeats": repeats,
                "offers": each.plan.offers,
                "hours": each.plan.hours,
                "max_cost_usd": each.plan.max_cost_usd,
                "warnings": [*each.plan.warnings, *warnings],
            }
        )
