"""All that AWS refused in one search, for people: a line for each region and cause, each with its next step."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from launcher.aws.faulttable import ERRORS, Kind
from launcher.errors import ProvisionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from launcher.aws.refusals import Refusal

GRAVITY = (Kind.PERMISSION, Kind.QUOTA, Kind.BROKEN, Kind.PRICE, Kind.CAPACITY, Kind.THROTTLED, Kind.UNKNOWN)
"""Where regions refuse for several reasons, the first of these that occurs is what it is raised as."""
FEW = 4
"""So many names are listed; of more, their number."""


def error(refusals: Sequence[Refusal]) -> ProvisionError:
    """The error that tells all refusals, of the gravest one's kind."""
    gravest = min(refusals, key=lambda each: GRAVITY.index(each.kind))
    raised = ERRORS[gravest.kind]
    told = "\n".join(f"  {line}" for line in lines(refusals))
    make = raised if issubclass(raised, ProvisionError) else ProvisionError
    return make(f"no machine could be had:\n{told}", hint=_hint(refusals, gravest), code=gravest.code)


def lines(refusals: Sequence[Refusal]) -> list[str]:
    """One line for each region and cause: what it was, where, and the next step."""
    by_cause: dict[tuple[str, Kind], list[Refusal]] = {}
    for each in refusals:
        by_cause.setdefault((each.region, each.kind), []).append(each)
    return [
        f"{region}: {_cause(kind, found)}{_age(found)}; {_steps(found)}" for (region, kind), found in by_cause.items()
    ]


def _cause(kind: Kind, found: Sequence[Refusal]) -> str:
    asked = f"{_listed(str(each.market) for each in found if each.market)}: " if any(r.market for r in found) else ""
    codes = _listed(each.code for each in found if each.code)
    by = f" ({codes})" if codes else ""
    types = _listed(each.instance_type for each in found if each.instance_type) or "any machine"
    zones = _listed(each.zone for each in found if each.zone)
    where = f" in {zones}" if zones else ""
    if kind is Kind.CAPACITY:
        return f"{asked}no capacity for {types}{where}{by}"
    if kind is Kind.PRICE:
        return f"{asked}{types}{where} cost more than the price cap{by}"
    if kind is Kind.QUOTA and any(each.instance_type for each in found):
        return f"{asked}the quota does not allow {types}{by}"
    said = _listed(_one_line(each.message) for each in found)
    return f"{asked}{said}" if all(each.code in said for each in found) else f"{asked}{said}{by}"


def _steps(found: Sequence[Refusal]) -> str:
    """Each step once; of quotas, which differ from market to market, each one."""
    return "; ".join(dict.fromkeys(each.step for each in found if each.step))


def _age(found: Sequence[Refusal]) -> str:
    if not all(each.remembered for each in found):
        return ""
    return f", said {time.time() - max(each.at for each in found):.0f} s ago and not asked again"


def _listed(names: Iterable[str]) -> str:
    distinct = list(dict.fromkeys(name for name in names if name))
    if len(distinct) > FEW:
        return f"{', '.join(distinct[:FEW])} and {len(distinct) - FEW} more"
    return ", ".join(distinct)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _hint(refusals: Sequence[Refusal], gravest: Refusal) -> str:
    if any(each.kind in {Kind.CAPACITY, Kind.PRICE} for each in refusals):
        return "gpurun launch --wait keeps trying until there is a machine"
    return gravest.step


def regions_refused(refusals: Iterable[Refusal], code: str) -> int:
    """How many regions gave this answer."""
    return len({each.region for each in refusals if each.code == code})
