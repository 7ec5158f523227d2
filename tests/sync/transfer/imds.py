"""An instance metadata service: IMDSv2 over real HTTP, with a clock and a tongue of its own."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"
ACTION = "/latest/meta-data/spot/instance-action"
REBALANCE = "/latest/meta-data/events/recommendations/rebalance"


@dataclass
class Metadata:
    """What it says, and what it was asked."""

    ahead_s: float = 0.0
    """Of this machine's clock."""
    dated: bool = True
    tokens: set[str] = field(default_factory=set)
    pages: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str, int]] = field(default_factory=list)
    address: str = ""

    def interrupt(self, in_s: float, action: str = "terminate") -> None:
        """A notice whose moment is `in_s` from now, by its own clock."""
        self.pages[ACTION] = json.dumps({"action": action, "time": self.moment(in_s)})

    def rebalance(self) -> None:
        self.pages[REBALANCE] = json.dumps({"noticeTime": self.moment(0.0)})

    def moment(self, in_s: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + self.ahead_s + in_s))

    def answer(self, method: str, path: str, headers: dict[str, str]) -> tuple[int, str]:
        if path == "/latest/api/token":
            if method != "PUT" or not 1 <= int(headers.get(TTL, 0)) <= 21600:
                return 400, "Bad Request"
            token = f"token-{len(self.tokens)}"
            self.tokens.add(token)
            return 200, token
        if headers.get(TOKEN) not in self.tokens:
            return 401, "Unauthorized"
        return (200, self.pages[path]) if path in self.pages else (404, "Not Found")

    def serve(self) -> ThreadingHTTPServer:
        """Start answering; `shutdown` and `server_close` end it."""
        metadata = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                status, text = metadata.answer(self.command, self.path, dict(self.headers.items()))
                metadata.asked.append((self.command, self.path, status))
                self.send_response_only(status)
                if metadata.dated:
                    self.send_header("Date", formatdate(time.time() + metadata.ahead_s, usegmt=True))
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_PUT = _answer  # noqa: N815 - the names that http.server calls

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                """Whoever asks may hang up."""

        server = Server(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        self.address = f"http://127.0.0.1:{server.server_port}"
        return server
