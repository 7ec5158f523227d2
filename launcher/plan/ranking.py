"""The order in which pools are tried."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from launcher.domain import Market, Offer, SpotPolicy

MAX_POOLS = 60
"""Of a market. CreateFleet takes 300 overrides; more than this adds API time and no capacity worth having."""
MIN_POOLS = 6
PRICE_SPREAD = 2.0
"""EC2 may choose any pool that is offered for its capacity: none at over twice the cost of the cheapest."""
MARKETS = {
    SpotPolicy.SPOT: (Market.SPOT,),
    SpotPolicy.ON_DEMAND: (Market.ON_DEMAND,),
    SpotPolicy.PREFER_SPOT: (Market.SPOT, Market.ON_DEMAND),
}


def rank(found: Sequence[Offer], policy: SpotPolicy) -> tuple[Offer, ...]:
    """Offers in the order in which they will be tried: by market, as the policy wants, then by expected cost."""
    return tuple(offer for market in MARKETS[policy] for offer in near_the_cheapest(found, market))


def near_the_cheapest(found: Sequence[Offer], market: Market) -> list[Offer]:
    """A market's offers by cost, as long as they are worth being chosen for their capacity."""
    ordered = by_cost(offer for offer in found if offer.market is market)
    dearest_usd = PRICE_SPREAD * cost_of(ordered[0]) if ordered else 0.0
    near = [offer for offer in ordered if cost_of(offer) <= dearest_usd]
    return (near if len(near) >= MIN_POOLS else ordered[:MIN_POOLS])[:MAX_POOLS]


def by_cost(offers: Iterable[Offer]) -> list[Offer]:
    """The cheapest first."""
    return sorted(offers, key=lambda offer: (cost_of(offer), offer.price_usd_per_hour, offer.zone))


def cost_of(offer: Offer) -> float:
    """What offers are compared by: the expected cost of the run, or the price alone where none is known."""
    return offer.expected.total_usd if offer.expected is not None else offer.price_usd_per_hour
