"""Credentials that the cloud lends to a role for a while: to schedules, and to machines by their instance profile.

Source: AWS STS API Reference, AssumeRole; EC2 User Guide, "Retrieve security credentials from instance metadata".
"""

from __future__ import annotations

import secrets
import string
import threading
import time
from dataclasses import dataclass

from launcher.sandbox.cloud.environment import ACCOUNT

SCHEDULER_KEY = "ASIASANDBOXSCHEDULER"
"""Who signs the calls of schedules, whatever their role."""
LIFETIME_S = 6 * 3600.0
_RENEWED_S = 3600.0
"""New ones are there an hour before the old ones end."""
_ALPHABET = string.ascii_uppercase + "234567"


class Invalid(Exception):
    """A key of the cloud's with a token that does not go with it."""


class Expired(Exception):
    """Credentials whose time is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A role, taken under a name; times are in seconds since 1970."""

    role_arn: str
    name: str
    access_key: str
    secret_key: str
    token: str
    began: float
    ends: float

    @property
    def arn(self) -> str:
        """As GetCallerIdentity names it."""
        return f"arn:aws:sts::{ACCOUNT}:assumed-role/{self.role_arn.rpartition('/')[2]}/{self.name}"


class Sessions:
    """All that were ever lent; safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_token: dict[str, Session] = {}
        self._latest: dict[tuple[str, str], Session] = {}
        self._keys: set[str] = set()

    def lend(self, role_arn: str, name: str, access_key: str = "") -> Session:
        """Credentials for the role under a name, the same until they grow old."""
        with self._lock:
            latest = self._latest.get((role_arn, name))
            if latest is not None and latest.ends - time.time() > _RENEWED_S:
                return latest
            began = time.time()
            made = Session(
                role_arn=role_arn,
                name=name,
                access_key=access_key or "ASIA" + "".join(secrets.choice(_ALPHABET) for _ in range(16)),
                secret_key=secrets.token_urlsafe(30),
                token=secrets.token_urlsafe(200),
                began=began,
                ends=began + LIFETIME_S,
            )
            self._latest[role_arn, name] = self._by_token[made.token] = made
            self._keys.add(made.access_key)
            return made

    def lent(self, access_key: str) -> bool:
        """Whether the cloud made that key."""
        with self._lock:
            return access_key in self._keys

    def find(self, access_key: str, token: str) -> Session | None:
        """Whose a request is; `None` for a user's, whose keys are not the cloud's.

        Raises `Invalid` or `Expired`.
        """
        with self._lock:
            if access_key not in self._keys:
                return None
            found = self._by_token.get(token)
        if found is None or found.access_key != access_key:
            raise Invalid(access_key)
        if found.ends < time.time():
            raise Expired(access_key)
        return found
