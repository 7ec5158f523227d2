"""The HTTP server of the sandbox cloud."""

from __future__ import annotations

import importlib
import logging
import socket
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import ThreadedWSGIServer

from launcher.sandbox.cloud import catalogue, offers, pricing, targets
from launcher.sandbox.cloud.middleware import Middleware
from launcher.sandbox.cloud.world import World

log = logging.getLogger(__name__)
_WARM = (
    ("ec2", {"Action": "DescribeInstances", "Version": "2016-11-15"}),
    ("sts", {"Action": "GetCallerIdentity", "Version": "2011-06-15"}),
)


def application(world: World) -> Middleware:
    """The sandbox's WSGI application over moto's."""
    return Middleware(world, DomainDispatcherApplication(create_backend_app))


class _Handler(MotoRequestHandler):  # type: ignore[misc] # moto comes without types
    disable_nagle_algorithm = True

    def log(self, kind: str, message: str, *args: Any) -> None:
        """The journal keeps the calls; the log keeps the failures."""
        if kind == "error":
            log.error(message, *args)


class _Listener(ThreadedWSGIServer):
    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - socketserver's signature
        """A client that hangs up is no news; anything else is."""
        if not isinstance(sys.exception(), ConnectionError):
            log.exception("the connection from %s failed", client_address)  # noqa: LOG004 - called while it is handled


class Server:
    """Serves an application on a socket that listens already, one thread a connection."""

    def __init__(self, listener: socket.socket, app: Callable[..., Iterable[bytes]]) -> None:
        host, port = listener.getsockname()
        self._listener = listener
        self._url = f"http://{host}:{port}/"
        self._server = _Listener(host, port, app, handler=_Handler, fd=listener.fileno())
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="sandbox-http", daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def warm_up(self) -> None:
        """Let moto load what its first answers need, so that no user waits for it."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        for service, params in _WARM:
            scope = f"Credential=AKIASANDBOXSANDBOX00/20260101/us-east-1/{service}/aws4_request"
            request = urllib.request.Request(  # noqa: S310 - our own address
                self._url,
                data=urllib.parse.urlencode(params).encode(),
                headers={"Authorization": f"AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=0"},
            )
            with opener.open(request) as answer:
                answer.read()
        catalogue.zones_of("us-east-1")
        importlib.import_module("moto.kms.models")  # makes the key of the first encrypted volume

    def warm_slowly(self) -> None:
        """Have the long answers ready too, in the background: each is only slower when it is asked for first."""

        def load() -> None:
            pricing.region_names()
            offers.prepare("us-east-1")
            targets.prepare()

        threading.Thread(target=load, name="sandbox-warm-up", daemon=True).start()

    def stop(self) -> None:
        """Stop answering."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._listener.close()
