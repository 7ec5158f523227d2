"""What EC2 says of the machine's end: the spot notice and the rebalance recommendation.

Both stand in the instance metadata service (IMDSv2). Source: Amazon EC2 User Guide, "Spot Instance interruption
notices" and "EC2 instance rebalance recommendations".
"""

from __future__ import annotations

import calendar
import contextlib
import http.client
import json
import os
import random
import re
import threading
import time
import urllib.parse
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from .clock import now_s
from .wire import Json

if TYPE_CHECKING:
    from collections.abc import Callable

ADDRESS = "http://169.254.169.254"
POLL_S = 5.0
TROUBLED_LIMIT_S = 20.0
"""How seldom a service that has answered before is asked while it fails."""
ABSENT_LIMIT_S = 50.0
"""And one that never has: it may only be slow to come up, and a notice is two minutes. A minute with its jitter."""
TIMEOUT_S = 2.0
ANSWER_LIMIT_BYTES = 4096
TOKEN_LIFE_S = 21600
TOKEN_USE_S = TOKEN_LIFE_S / 2
WARNING_S = 120.0
"""What EC2 gives between the notice and the end: the most that is believed of a clock of our own."""
ACTIONS = ("terminate", "stop", "hibernate")
MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
FAILURES = (OSError, http.client.HTTPException, ValueError)
NONSENSE = (ValueError, RecursionError)


def watch(tell: Callable[[Json], None]) -> None:
    """Ask from a thread of its own, for as long as the process lives; `tell` is called there, once for each change.

    It is given `kind` (spot or rebalance), `action`, `ends_at` (since the epoch, or none) and `ends_at_s`
    (by `clock.now_s`, or none).
    """
    if os.environ.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
        return
    try:
        service = Service(os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or ADDRESS)
    except ValueError:
        return
    threading.Thread(target=keep_asking, args=(service, tell), daemon=True).start()


def keep_asking(service: Service, tell: Callable[[Json], None]) -> None:
    """Ask every few seconds, and seldom where nobody answers: most machines outside EC2 have no such service."""
    known: Json = None
    pause_s = POLL_S
    answered = False
    while True:
        try:
            found = service.look()
        except FAILURES:
            pause_s = min(2 * pause_s, TROUBLED_LIMIT_S if answered else ABSENT_LIMIT_S)
        else:
            answered, pause_s = True, POLL_S
            if found and told_of(found) != known:
                known = told_of(found)
                tell(found)
        time.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311  (no secret: machines must not ask in step)


def told_of(found: Json) -> Json:
    """What makes it another notice; how long is left is measured anew each time."""
    return found["kind"], found["action"], found["ends_at"]


class Service:
    """The metadata service at an address; raises `ValueError` for one that is none."""

    def __init__(self, address: str) -> None:
        parts = urllib.parse.urlsplit(address)
        if parts.scheme != "http" or not parts.hostname:
            raise ValueError(address)
        self.host, self.port = parts.hostname, parts.port or 80
        self.token = ""
        self.token_until_s = 0.0

    def look(self) -> Json | None:
        """What it tells now, the notice before the recommendation; raises one of `FAILURES` where it does not answer.

        What is no notice in form is none.
        """
        line = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)
        with contextlib.closing(line):
            status, body, now = self.get(line, "spot/instance-action")
            if status == http.client.OK:
                with contextlib.suppress(*NONSENSE):
                    return notice(body, now)
            status, body, _ = self.get(line, "events/recommendations/rebalance")
            if status == http.client.OK:
                with contextlib.suppress(*NONSENSE):
                    return recommendation(body)
        return None

    def get(self, line: http.client.HTTPConnection, name: str) -> tuple[int, bytes, float | None]:
        """One answer: status, body and what time the service says that it is."""
        if not self.token or now_s() > self.token_until_s:
            self.renew(line)
        status, body, now = self.ask(line, name)
        if status == http.client.UNAUTHORIZED:
            self.renew(line)
            status, body, now = self.ask(line, name)
        if status not in {http.client.OK, http.client.NOT_FOUND}:
            raise ValueError(status)
        return status, body, now

    def ask(self, line: http.client.HTTPConnection, name: str) -> tuple[int, bytes, float | None]:
        """Ask with the token that there is."""
        return exchange(line, "GET", f"/latest/meta-data/{name}", {"X-aws-ec2-metadata-token": self.token})

    def renew(self, line: http.client.HTTPConnection) -> None:
        """Fetch a token, without which nothing is told."""
        life = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_LIFE_S)}
        status, body, _ = exchange(line, "PUT", "/latest/api/token", life)
        if status != http.client.OK:
            raise ValueError(status)
        self.token = body.decode("ascii")
        self.token_until_s = now_s() + TOKEN_USE_S


def exchange(
    line: http.client.HTTPConnection, method: str, path: str, headers: dict[str, str]
) -> tuple[int, bytes, float | None]:
    """One request and its answer, its Date as seconds since the epoch where there is one."""
    line.request(method, path, headers=headers)
    answer = line.getresponse()
    body = answer.read(ANSWER_LIMIT_BYTES + 1)
    if len(body) > ANSWER_LIMIT_BYTES:
        raise ValueError("an answer is too long")
    now = None
    with contextlib.suppress(TypeError, ValueError, IndexError, OverflowError):
        now = parsedate_to_datetime(answer.getheader("Date") or "").timestamp()
    return answer.status, body, now


def notice(body: bytes, now: float | None) -> Json:
    """The spot notice in `body`, read strictly; raises `ValueError`.

    How long is left counts from the service's idea of the present. Where it has none there is this machine's clock,
    which may be wrong: then no more than EC2's two minutes are believed.
    """
    said = json.loads(body)
    if not isinstance(said, dict) or said.get("action") not in ACTIONS:
        raise ValueError(said)
    ends_at = moment_of(said.get("time"))
    # The Date is cut to the second: up to one more has gone by.
    left_s = ends_at - now - 1.0 if now is not None else min(ends_at - time.time(), WARNING_S)
    return {
        "kind": "spot",
        "action": said["action"],
        "ends_at": ends_at,
        "ends_at_s": now_s() + max(0.0, left_s),
    }


def recommendation(body: bytes) -> Json:
    """The rebalance recommendation in `body`, read strictly; raises `ValueError`."""
    said = json.loads(body)
    moment_of(said.get("noticeTime") if isinstance(said, dict) else None)
    return {"kind": "rebalance", "action": "", "ends_at": None, "ends_at_s": None}


def moment_of(text: Json) -> float:
    """Seconds since the epoch of `2026-11-21T12:00:00Z`; raises `ValueError` for anything else."""
    if not isinstance(text, str) or not MOMENT.fullmatch(text):
        raise ValueError(text)
    return float(calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")))
