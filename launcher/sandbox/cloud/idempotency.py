"""Client tokens: the same request with the same token takes effect once.

Source: Amazon EC2 User Guide, "Ensuring idempotency in Amazon EC2 API requests".
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from launcher.sandbox.cloud.errors import refusal
from launcher.sandbox.cloud.wire import Answer, Call, error_answer

TOKENS_HONOURED = frozenset({"RunInstances", "CreateFleet", "CreateLaunchTemplate", "CreateLaunchTemplateVersion"})


@dataclass(slots=True)
class _Entry:
    fingerprint: tuple[tuple[str, str], ...]
    lock: threading.Lock = field(default_factory=threading.Lock)
    answer: Answer | None = None


class Tokens:
    """Remembers what was answered to each token; twins in flight wait for the first."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str, str], _Entry] = {}
        self._lock = threading.Lock()

    def once(self, call: Call, perform: Callable[[], Answer]) -> Answer:
        """Perform the call, or repeat the answer that its token already got; failures are not remembered."""
        token = str(call.params.get("ClientToken", ""))
        asks_only = str(call.params.get("DryRun", "")).lower() == "true"
        if call.service != "ec2" or call.action not in TOKENS_HONOURED or not token or asks_only:
            return perform()
        fingerprint = tuple(sorted((k, str(v)) for k, v in call.params.items() if k != "ClientToken"))
        with self._lock:
            entry = self._entries.setdefault((call.region, call.action, token), _Entry(fingerprint))
        with entry.lock:
            if entry.answer is None:
                entry.fingerprint = fingerprint
                answer = perform()
                entry.answer = answer if answer.good else None
                return answer
        if entry.fingerprint != fingerprint:
            no = refusal("IdempotentParameterMismatch")
            return error_answer("ec2", no.code, no.status, no.message)
        return entry.answer
