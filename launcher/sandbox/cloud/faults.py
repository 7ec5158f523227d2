"""Faults on request: rules that match calls, or the capacity pools inside them, and what happens then."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

POOL_PARAMS = frozenset({"InstanceType", "AvailabilityZone", "Market"})
"""Parameters that name a capacity pool; a CreateFleet call has many, so its rules are tried pool by pool."""
_ALIASES = {"AZ": "AvailabilityZone"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Which calls a rule is for; empty means any, patterns match the whole value."""

    service: str = ""
    action: str = ""
    region: str = ""
    params: dict[str, str] = field(default_factory=dict)

    def call(self, service: str, action: str, region: str) -> bool:
        """Whether the call as a whole is meant."""
        return (
            self.service in {"", service}
            and (not self.action or re.fullmatch(self.action, action) is not None)
            and self.region in {"", region}
        )

    def values(self, params: Mapping[str, Any]) -> bool:
        """Whether every pattern is found in the call's parameters."""
        return all(re.fullmatch(pattern, str(params.get(name, ""))) for name, pattern in self.params.items())


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What happens: first the delay, then the connection's end or an error, where asked for."""

    error: str = ""
    status: int | None = None
    message: str | None = None
    delay_s: float = 0.0
    drop: str = ""
    """`before` or `after`: the connection is reset before, or after, the call has taken effect."""


@dataclass(slots=True, kw_only=True)
class Rule:
    """A fault; `times` -1 means for ever, `skip` lets that many calls pass first."""

    id: int = 0
    match: Match = field(default_factory=Match)
    effect: Effect = field(default_factory=Effect)
    times: int = 1
    skip: int = 0
    probability: float = 1.0
    seed: int | None = None
    hits: int = 0
    dice: random.Random = field(default_factory=random.Random, repr=False)

    @property
    def for_pools(self) -> bool:
        """Whether it speaks of capacity pools rather than of whole calls."""
        return not POOL_PARAMS.isdisjoint(self.match.params)

    def fires(self) -> bool:
        """Count one matching call; whether this one is hit."""
        if self.times == 0:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.dice.random() >= self.probability:
            return False
        self.times -= 1 if self.times > 0 else 0
        self.hits += 1
        return True


def read_rule(data: Mapping[str, Any]) -> Rule:
    """A rule from its JSON form; raises `ValueError` or `TypeError` where it cannot be one."""
    asked = dict(data.get("match", {}))
    asked["params"] = {_ALIASES.get(name, name): value for name, value in asked.get("params", {}).items()}
    match, effect = Match(**asked), Effect(**data.get("effect", {}))
    if not (effect.error or effect.delay_s or effect.drop):
        raise ValueError("effect: give at least one of error, delay_s and drop")
    if effect.drop not in {"", "before", "after"}:
        raise ValueError(f"effect.drop: {effect.drop!r} is neither 'before' nor 'after'")
    for pattern in (match.action, *match.params.values()):
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"match: {pattern!r} is not a regular expression: {error}") from error
    rest = {name: data[name] for name in ("times", "skip", "probability", "seed") if name in data}
    unknown = set(data) - {"match", "effect", *rest}
    if unknown:
        raise ValueError(f"unknown field: {', '.join(sorted(unknown))}")
    return Rule(match=match, effect=effect, dice=random.Random(data.get("seed")), **rest)  # noqa: S311 - not for secrets


class FaultBook:
    """All rules in force, first come first served; safe to use from many threads."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._next_id = 1

    def add(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Put a rule in force."""
        rule = read_rule(data)
        with self._lock:
            rule.id, self._next_id = self._next_id, self._next_id + 1
            self._rules.append(rule)
        return describe(rule)

    def listed(self) -> list[dict[str, Any]]:
        """Every rule with its counters."""
        with self._lock:
            return [describe(rule) for rule in self._rules]

    def clear(self) -> None:
        """Lift them all."""
        with self._lock:
            self._rules.clear()

    def lift(self, rule_id: int) -> bool:
        """Lift one; whether it was in force."""
        with self._lock:
            found = [rule for rule in self._rules if rule.id == rule_id]
            self._rules = [rule for rule in self._rules if rule.id != rule_id]
        return bool(found)

    def for_call(self, service: str, action: str, region: str, params: Mapping[str, Any]) -> Effect | None:
        """The effect on a whole call; rules for pools are left to `for_pool` when the call has many."""
        with self._lock:
            for rule in self._rules:
                if action == "CreateFleet" and rule.for_pools:
                    continue
                if rule.match.call(service, action, region) and rule.match.values(params) and rule.fires():
                    return rule.effect
        return None

    def for_pool(self, region: str, params: Mapping[str, Any]) -> Effect | None:
        """The effect on one pool of a CreateFleet call: of its own pool rules, and of all RunInstances rules."""
        with self._lock:
            for rule in self._rules:
                if self._concerns_pool(rule, region) and rule.match.values(params) and rule.fires():
                    return rule.effect
        return None

    @staticmethod
    def _concerns_pool(rule: Rule, region: str) -> bool:
        as_run = bool(rule.match.action) and rule.match.call("ec2", "RunInstances", region)
        return as_run or (rule.for_pools and rule.match.call("ec2", "CreateFleet", region))


def describe(rule: Rule) -> dict[str, Any]:
    """A rule's JSON form."""
    match = {"service": rule.match.service, "action": rule.match.action, "region": rule.match.region}
    effect = {name: getattr(rule.effect, name) for name in ("error", "status", "message", "delay_s", "drop")}
    return {
        "id": rule.id,
        "match": {**{k: v for k, v in match.items() if v}, "params": rule.match.params},
        "effect": {k: v for k, v in effect.items() if v},
        "times": rule.times,
        "skip": rule.skip,
        "probability": rule.probability,
        "seed": rule.seed,
        "hits": rule.hits,
    }
