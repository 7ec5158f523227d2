"""Client tokens: the same request with the same token takes effect once.

Source: Amazon EC2 User Guide, "Ensuring idempotency in Amazon EC2 API requests".
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from launcher.sandbox.cloud.errors import Refusal, refusal
from launcher.sandbox.cloud.wire import Answer, Call, error_answer

_LONGEST_TOKEN = {
    "RunInstances": 64,
    "CreateFleet": 64,
    "CreateLaunchTemplate": 128,
    "CreateLaunchTemplateVersion": 128,
}
"""The calls of EC2 that honour a token, and the characters that it may have (Amazon EC2 API Reference)."""


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
        longest = _LONGEST_TOKEN.get(call.action) if call.service == "ec2" else None
        if longest is None or not token:
            return perform()
        if len(token) > longest or not token.isascii():
            words = f"Value ({token}) for parameter clientToken is invalid. Maximum {longest} ASCII characters."
            return _refused(refusal("InvalidParameterValue", message=words))
        if asks_only:
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
            return _refused(refusal("IdempotentParameterMismatch"))
        return entry.answer


def _refused(no: Refusal) -> Answer:
    return error_answer("ec2", no.code, no.status, no.message)
