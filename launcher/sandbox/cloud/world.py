"""All that the parts of the sandbox cloud share."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from launcher.sandbox.cloud.account import Account
from launcher.sandbox.cloud.faults import FaultBook
from launcher.sandbox.cloud.idempotency import Tokens
from launcher.sandbox.cloud.journal import Journal
from launcher.sandbox.cloud.sessions import Sessions
from launcher.sandbox.cloud.settings import Settings

if TYPE_CHECKING:
    from launcher.sandbox.cloud.lifecycle import Machines
    from launcher.sandbox.cloud.schedules import Schedules

ENVIRON_KEY = "gpurun.world"
"""Where a WSGI request carries it."""


@dataclass(slots=True, kw_only=True)
class World:
    """One sandbox cloud; `lock` guards moto, whose structures know nothing of threads."""

    hosts: str
    lock: threading.RLock = field(default_factory=threading.RLock)
    settings: Settings = field(default_factory=Settings)
    faults: FaultBook = field(default_factory=FaultBook)
    tokens: Tokens = field(default_factory=Tokens)
    journal: Journal = field(default_factory=Journal)
    opened: set[str] = field(default_factory=set)
    """Regions whose default VPC has its gateway."""
    account: Account = field(default_factory=Account)
    sessions: Sessions = field(default_factory=Sessions)
    machines: Machines = field(init=False)
    schedules: Schedules = field(init=False)

    def settings_of_next(self) -> Settings:
        """What holds for an instance that is launched now; called with the lock held."""
        own, self.settings = self.settings.for_next()
        return own
