"""Every schedule of the sandbox, and the threads that see to it that each acts when it is due."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from launcher.sandbox.cloud.clock import Clock
from launcher.sandbox.cloud.environment import ACCOUNT
from launcher.sandbox.cloud.expressions import Expression

log = logging.getLogger(__name__)

Place = tuple[str, str, str]
"""Region, group and name."""
_WORKERS = 4
_LOOK_S = 30.0
"""How long to wait at most before the clock is looked at again: a laptop that slept has lost none of its schedules."""
_FIRST_RETRY_S = 0.5
_LONGEST_RETRY_S = 60.0


@dataclass(slots=True, kw_only=True)
class Group:
    """A schedule group; only groups have tags."""

    created_at: float
    tags: dict[str, str] = field(default_factory=dict)
    state: str = "ACTIVE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """One schedule as it was asked for; another takes its place when it is updated."""

    place: Place
    asked: Mapping[str, Any]
    expression: Expression
    created_at: float
    changed_at: float
    token: str = ""

    @property
    def enabled(self) -> bool:
        """Whether it acts at all."""
        return bool(self.asked.get("State", "ENABLED") == "ENABLED")

    def due_after(self, moment: float | None) -> float | None:
        """When it is due next, within its dates, in seconds since 1970."""
        due = self.expression.after(moment)
        ends = self.asked.get("EndDate")
        return None if due is None or (ends is not None and due > float(ends)) else due


@dataclass(frozen=True, slots=True, kw_only=True)
class Firing:
    """One attempt to call a schedule's target; AWS gives each an id of its own ("for each attempted invocation")."""

    schedule: Schedule
    due: float
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    attempt: int = 1

    @property
    def region(self) -> str:
        """The schedule's."""
        return self.schedule.place[0]

    @property
    def target(self) -> Mapping[str, Any]:
        """What is to be called, as it was asked for."""
        target: Mapping[str, Any] = self.schedule.asked["Target"]
        return target

    @property
    def arn(self) -> str:
        """The schedule's."""
        region, group, name = self.schedule.place
        return f"arn:aws:scheduler:{region}:{ACCOUNT}:schedule/{group}/{name}"

    def attributes(self) -> dict[str, str]:
        """What `<aws.scheduler....>` stands for in the target's input."""
        return {
            "schedule-arn": self.arn,
            "scheduled-time": datetime.fromtimestamp(self.due, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "execution-id": self.id,
            "attempt-number": str(self.attempt),
        }


Invoke = Callable[[Firing], None]


class Schedules:
    """All groups and schedules; safe to use from many threads."""

    def __init__(self, invoke: Invoke) -> None:
        self.lock = threading.RLock()
        self.groups: dict[tuple[str, str], Group] = {}
        self._found: dict[Place, Schedule] = {}
        self._invoke = invoke
        self._clock = Clock()
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="sandbox-schedule")

    def get(self, place: Place) -> Schedule | None:
        """One of them."""
        with self.lock:
            return self._found.get(place)

    def listed(self, region: str) -> list[Schedule]:
        """A region's, by group and name."""
        with self.lock:
            return [self._found[place] for place in sorted(self._found) if place[0] == region]

    def put(self, schedule: Schedule) -> None:
        """Keep it, in place of one with its name, and act on it from now on."""
        with self.lock:
            self._found[schedule.place] = schedule
        if schedule.enabled:
            self._await(schedule, schedule.due_after(None))

    def remove(self, place: Place) -> bool:
        """Drop one; whether it was there."""
        with self.lock:
            return self._found.pop(place, None) is not None

    def remove_group(self, place: tuple[str, str], deleting_s: float) -> None:
        """Begin to delete a group: until it is gone, all at once, its schedules are there and go on acting."""
        with self.lock:
            group = self.groups[place]
            group.state = "DELETING"
        self._clock.after(deleting_s, partial(self._finish_group, place, group))

    def close(self) -> None:
        """Act on nothing any more."""
        self._clock.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _await(self, schedule: Schedule, due: float | None) -> None:
        if due is None:
            self._complete(schedule)
            return
        self._clock.after(min(max(0.0, due - time.time()), _LOOK_S), partial(self._look, schedule, due))

    def _look(self, schedule: Schedule, due: float) -> None:
        if not self._stands(schedule):
            return
        if time.time() < due:
            self._await(schedule, due)
        else:
            self._submit(Firing(schedule=schedule, due=due))

    def _stands(self, schedule: Schedule) -> bool:
        """Whether it was neither removed nor replaced."""
        return self.get(schedule.place) is schedule

    def _submit(self, firing: Firing) -> None:
        self._pool.submit(self._fire, firing)

    def _fire(self, firing: Firing) -> None:
        if not self._stands(firing.schedule):
            return
        try:
            self._invoke(firing)
        except Exception as error:  # noqa: BLE001 - whatever the target answered, the retry policy says what now
            log.info("%s, attempt %d: %s", firing.arn, firing.attempt, error)
            if self._retry(firing):
                return
            log.warning("%s is given up after %d attempts: %s", firing.arn, firing.attempt, error)
        self._await(firing.schedule, firing.schedule.due_after(firing.due))

    def _retry(self, firing: Firing) -> bool:
        policy = firing.target.get("RetryPolicy", {})
        wait_s = min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2.0 ** (firing.attempt - 1))
        too_many = firing.attempt > int(policy.get("MaximumRetryAttempts", 185))
        too_old = time.time() + wait_s - firing.due > float(policy.get("MaximumEventAgeInSeconds", 86_400))
        if too_many or too_old:
            return False
        again = Firing(schedule=firing.schedule, due=firing.due, attempt=firing.attempt + 1)
        self._clock.after(wait_s, partial(self._submit, again))
        return True

    def _complete(self, schedule: Schedule) -> None:
        """Nothing of it is to come."""
        with self.lock:
            if self._stands(schedule) and schedule.asked.get("ActionAfterCompletion") == "DELETE":
                self.remove(schedule.place)

    def _finish_group(self, place: tuple[str, str], group: Group) -> None:
        with self.lock:
            if self.groups.get(place) is not group:
                return
            for each in [found for found in self._found if found[:2] == place]:
                self.remove(each)
            del self.groups[place]
