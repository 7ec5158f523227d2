"""Objects into the store, by the form that the launcher has signed (Amazon S3 API Reference, "POST Object").

The store checks each content against its sha256, which goes with it. Nothing is ever left unfinished there: an object
is whole or it is not there.
"""

from __future__ import annotations

import base64
import http.client
import random
import re
import secrets
import ssl
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from .wire import Json

ATTEMPTS = 6
BACKOFF_S = 0.25
TIMEOUT_S = 60.0
MAX_OBJECT_BYTES = 5 << 30
"""Of one POST (Amazon S3 User Guide, "Uploading objects")."""
ALTERED = ("BadDigest", "InvalidDigest", "XAmzContentChecksumMismatch", "IncompleteBody")
BUSY = ("SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable", "Throttling", "RequestTimeTooSkewed")


class Refused(Exception):
    """The store says no, and will go on saying it: the grant has expired, the bucket is gone, a permission is."""


class Unreachable(Exception):
    """The store cannot be reached, or is too busy, for longer than a few attempts take."""


class Altered(Exception):
    """What was sent is not what was announced: the file has changed since it was looked at."""


class Store:
    """The place that a grant opens; from any thread. Raises `Refused`, `Unreachable` and `Altered`."""

    def __init__(self, grant: Json) -> None:
        self.prefix: str = grant["prefix"]
        self.fields: dict[str, str] = grant["fields"]
        address = urlsplit(grant["url"])
        self.secure = address.scheme == "https"
        self.host, self.port = address.hostname or "", address.port
        self.path = address.path or "/"
        self.context = ssl.create_default_context() if self.secure else None
        self.idle: list[http.client.HTTPConnection] = []
        self.lock = threading.Lock()

    def put(self, key: str, blocks: Callable[[], Iterator[bytes]], size: int, sha256: str) -> None:
        """Have an object there with this content, which `blocks` gives as often as it is asked."""
        head, tail, kind = self.form(key, sha256)
        problem = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(BACKOFF_S * 2**attempt * random.uniform(0.5, 1.0))  # noqa: S311  (no secret)
            try:
                status, answer = self.post(head, blocks(), tail, size, kind)
            except (OSError, http.client.HTTPException) as error:
                problem = f"{type(error).__name__}: {error}"
                continue
            if status in (200, 201, 204):
                return
            code, message = told(answer, "Code") or f"HTTP {status}", told(answer, "Message")
            problem = f"{code}: {message}"
            if code in ALTERED:
                if attempt:  # not by the way here, then
                    raise Altered(key)
            elif status < 500 and status not in (408, 429) and code not in BUSY:
                raise Refused(problem)
        raise Unreachable(problem)

    def form(self, key: str, sha256: str) -> tuple[bytes, bytes, str]:
        """What stands before and behind the content (RFC 7578; the file must come last), and its type."""
        boundary = secrets.token_hex(16)
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode("ascii")
        fields = {**self.fields, "key": self.prefix + key, "x-amz-checksum-sha256": checksum}
        parts = [
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        file = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="object"\r\n'
        head = "".join([*parts, file, "Content-Type: application/octet-stream\r\n\r\n"])
        return head.encode(), f"\r\n--{boundary}--\r\n".encode("ascii"), f"multipart/form-data; boundary={boundary}"

    def post(self, head: bytes, blocks: Iterator[bytes], tail: bytes, size: int, kind: str) -> tuple[int, str]:
        """Send one form; gives status and answer. Raises `OSError` and `HTTPException`."""
        connection = self.connection()
        kept = False
        try:
            connection.putrequest("POST", self.path)
            connection.putheader("Content-Type", kind)
            connection.putheader("Content-Length", str(len(head) + size + len(tail)))
            try:
                connection.endheaders(head)
                for block in blocks:
                    connection.send(block)
                connection.send(tail)
            except (BrokenPipeError, ConnectionResetError):
                pass  # a store that refuses says so before it has read everything
            answer = connection.getresponse()
            text = answer.read(1 << 16).decode("utf-8", "replace")
            kept = answer.status < 300 and not answer.will_close
            return answer.status, text
        finally:
            if kept:
                with self.lock:
                    self.idle.append(connection)
            else:
                connection.close()

    def connection(self) -> http.client.HTTPConnection:
        """One that is idle and still open, or a new one."""
        while True:
            with self.lock:
                if not self.idle:
                    break
                connection = self.idle.pop()
            if still_open(connection.sock):
                return connection
            connection.close()
        if self.context is not None:
            return http.client.HTTPSConnection(self.host, self.port, timeout=TIMEOUT_S, context=self.context)
        return http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_S)

    def close(self) -> None:
        """Hang up."""
        while self.idle:
            self.idle.pop().close()


def still_open(connection: Any) -> bool:
    """Whether the other side has not hung up an idle connection."""
    if connection is None:
        return False
    connection.setblocking(False)
    try:
        return not isinstance(connection.recv(1), bytes)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False
    finally:
        connection.settimeout(TIMEOUT_S)


def told(answer: str, name: str) -> str:
    """An element of the store's answer; its errors are a few lines of XML."""
    match = re.search(f"<{name}>([^<]*)</{name}>", answer)
    return match[1] if match else ""
