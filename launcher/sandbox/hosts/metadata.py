"""Serves a host's instance metadata over HTTP; what it says is the control plane's."""

from __future__ import annotations

import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

from launcher.sandbox.machine import MetadataAnswer

IDLE_S = 30.0


def answer_requests(
    line: socket.socket, peer: str, metadata: Callable[[str, str, dict[str, str]], MetadataAnswer]
) -> None:
    """Answer the HTTP requests of one connection until it ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = IDLE_S

        def _answer(self) -> None:
            # A request's body has no meaning here; left unread it would be taken for the next request.
            self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = metadata(self.command, self.path, headers)
            self.send_response(answer.status)
            self.send_header("Content-Type", "text/plain")
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        do_GET = do_PUT = _answer  # noqa: N815 - the names that http.server calls

        def log_message(self, *_: object) -> None:
            """Nothing: the daemon's log is not the guest's."""

    try:
        Handler(line, (peer, 0), None)  # type: ignore[arg-type]  # it never looks at its server
    except OSError:
        # The guest hung up in the middle, or dawdled.
        return
    finally:
        line.close()
