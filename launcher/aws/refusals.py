"""What stood in the way of a machine, kept for a while so that nobody asks the same pools again at once.

By pool, as Karpenter does it, and shared by all of this laptop's launches.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from launcher.aws import quota
from launcher.aws.faulttable import ERRORS, Kind, Scope, fault_of
from launcher.domain import Market

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from launcher.aws.client import Aws
    from launcher.aws.offercache import OfferCache
    from launcher.domain import Offer
    from launcher.errors import ProvisionError

KEPT_S = 180.0
"""How long a refused pool is not asked again."""
KEPT = frozenset({Kind.CAPACITY, Kind.PRICE, Kind.QUOTA})
"""What lies with AWS; permissions and mistakes are for the user to mend, who then wants to try at once."""
CURABLE = frozenset({Kind.CAPACITY, Kind.PRICE, Kind.THROTTLED})
"""What may pass while one waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """One instance type in one zone, in one market: what has capacity or has none."""

    market: Market
    instance_type: str
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One answer of AWS; an empty zone or type means all that were asked for."""

    kind: Kind
    scope: Scope
    code: str
    message: str
    step: str
    """What the user does next."""
    region: str
    market: Market | None = None
    """`None`: it was refused before any market was asked."""
    instance_type: str = ""
    zone: str = ""
    at: float = 0.0
    """When it was said, in seconds since the epoch."""
    remembered: bool = False
    """Whether it was said to an earlier search, and not asked for again."""

    def bars(self, offer: Offer) -> bool:
        """Whether it speaks for that pool too."""
        region = offer.region == self.region
        market = self.market in {None, offer.market}
        kind = self.instance_type in {"", offer.instance_type}
        speaks = {
            Scope.POOL: region and market and kind and self.zone in {"", offer.zone},
            Scope.TYPE: region and kind,
            Scope.QUOTA: region and market and (not self.instance_type or self._same_quota(offer)),
            Scope.REGION: region,
            Scope.MARKET: market,
            Scope.ACCOUNT: True,
        }
        return speaks[self.scope]

    def _same_quota(self, offer: Offer) -> bool:
        mine, its = (quota.code_for(name, offer.market) for name in (self.instance_type, offer.instance_type))
        return mine == its

    @property
    def curable(self) -> bool:
        """Whether it may pass while one waits."""
        return self.kind in CURABLE


def of_code(code: str, message: str, *, aws: Aws, market: Market, instance_type: str = "", zone: str = "") -> Refusal:
    """One entry of what a fleet answered."""
    fault = fault_of(code, message)
    # The call itself was let in: where a fleet speaks of credentials, a permission is missing.
    kind = Kind.PERMISSION if fault.kind is Kind.CREDENTIALS else fault.kind
    place = quota.place_of(quota.code_for(instance_type, market), aws.region) if instance_type else ""
    return Refusal(
        kind=kind,
        scope=fault.scope,
        code=code,
        message=message,
        step=fault.step(region=aws.region, profile=aws.profile or "", quota=place),
        region=aws.region,
        market=market,
        instance_type=instance_type,
        zone=zone,
        at=time.time(),
    )


def of_error(error: ProvisionError, *, region: str, market: Market | None = None) -> Refusal:
    """A whole call that was refused; it speaks for the region, or for as much as its code says."""
    fault = fault_of(error.code, error.message)
    narrow = fault.scope in {Scope.POOL, Scope.TYPE} or fault.kind is Kind.UNKNOWN
    return Refusal(
        kind=fault.kind if error.code else _kind_of(error),
        scope=Scope.REGION if market is None and narrow else fault.scope,
        code=error.code,
        message=error.message,
        step=error.hint,
        region=region,
        market=market,
        at=time.time(),
    )


def _kind_of(error: ProvisionError) -> Kind:
    return next((kind for kind, raised in ERRORS.items() if raised is type(error)), Kind.UNKNOWN)


def note(cache: OfferCache, aws: Aws, refusals: Sequence[Refusal]) -> None:
    """Keep what AWS refused in a region; what is older than `KEPT_S` goes."""
    kept = [each for each in refusals if each.kind in KEPT]
    if not kept:
        return
    there = [each for each in _read(cache, aws) if time.time() - each.at < KEPT_S]
    cache.put(_key(aws), json.dumps([asdict(each) for each in _distinct([*there, *kept])]))


def refused(cache: OfferCache, aws: Aws, now: float, *, max_age_s: float = KEPT_S) -> frozenset[Refusal]:
    """What AWS refused in a region in the last `max_age_s`; `now` is in seconds since the epoch."""
    return frozenset(each for each in _read(cache, aws) if now - each.at < max_age_s)


def lift(cache: OfferCache, aws: Aws) -> None:
    """Forget what a region refused: a machine that ends there frees its quota, and its place."""
    if cache.get(_key(aws)) is not None:
        cache.put(_key(aws), "[]")


def _key(aws: Aws) -> str:
    # Zones have other names in another account.
    return f"refused/1/{aws.endpoint}/{aws.profile or ''}/{aws.region}"


def _read(cache: OfferCache, aws: Aws) -> list[Refusal]:
    found = cache.get(_key(aws))
    if found is None:
        return []
    try:
        return [_from_json(each) for each in json.loads(found[0])]
    except (ValueError, TypeError, KeyError):
        return []  # written by another version, or cut short: ask anew


def _from_json(values: dict[str, object]) -> Refusal:
    market = values["market"]
    typed = {
        "kind": Kind(str(values["kind"])),
        "scope": Scope(str(values["scope"])),
        "market": None if market is None else Market(str(market)),
    }
    return Refusal(**{**values, **typed, "remembered": True})  # type: ignore[arg-type] # checked by its own field names


def _distinct(refusals: Iterable[Refusal]) -> list[Refusal]:
    """The last of each, however often it was said."""
    return list({replace(each, at=0.0, message="", step="", remembered=False): each for each in refusals}.values())
