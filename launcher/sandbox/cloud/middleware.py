"""The way of every request: the sandbox's own API, then credentials and region, faults, tokens, and at last moto."""

from __future__ import annotations

import logging
import socket
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any

from werkzeug.wsgi import get_input_stream

from launcher.sandbox.cloud import authority, catalogue, json_services, post_object, scheduler
from launcher.sandbox.cloud.admin import administer
from launcher.sandbox.cloud.errors import EXPIRED_CREDENTIALS, INVALID_CREDENTIALS, refusal
from launcher.sandbox.cloud.faults import Effect
from launcher.sandbox.cloud.pools import named_pool
from launcher.sandbox.cloud.settings import OPT_IN_REGIONS
from launcher.sandbox.cloud.wire import (
    POST_OBJECT,
    Answer,
    Call,
    Environ,
    StartResponse,
    collect,
    error_answer,
    read_call,
    send,
)
from launcher.sandbox.cloud.world import ENVIRON_KEY, World

log = logging.getLogger(__name__)
_ADMIN = "/_sandbox"
_OF_CREDENTIALS = frozenset({EXPIRED_CREDENTIALS, INVALID_CREDENTIALS})
_GLOBAL = frozenset({"iam", "s3", "route53", ""})


class ConnectionDropped(ConnectionError):
    """The client's connection was reset on purpose; nothing can be answered any more."""


class Middleware:
    """The WSGI application that the daemon serves."""

    def __init__(self, world: World, moto: Callable[..., Iterable[bytes]]) -> None:
        self._world = world
        self._moto = moto

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        if environ.get("PATH_INFO", "").startswith(_ADMIN):
            return send(administer(self._world, environ, environ["PATH_INFO"][len(_ADMIN) :]), start_response)
        environ[ENVIRON_KEY] = self._world
        call, started = read_call(environ), time.monotonic()
        params = named_pool(self._world, call)
        effect = self._world.faults.for_call(call.service, call.action, call.region, params)
        if effect and effect.error in _OF_CREDENTIALS and self._world.sessions.lent(call.access_key):
            effect = None  # what acts under a role has credentials of the cloud's own
        answer: Answer | None = None
        try:
            answer = self._faulty(call, params, environ, effect) if effect else self._answer(call, environ)
        finally:
            fault = (effect.error or effect.drop or "delay") if effect else ""
            refused = environ.get(authority.WORDS_KEY, "")
            self._world.journal.note(call, started, answer, fault, refused)
        return send(answer, start_response)

    def _faulty(self, call: Call, params: dict[str, Any], environ: Environ, effect: Effect) -> Answer:
        if effect.delay_s:
            time.sleep(effect.delay_s)
        if effect.drop == "after":
            self._answer(call, environ)
        if effect.drop:
            _reset(environ["werkzeug.socket"])
            raise ConnectionDropped
        if not effect.error:
            return self._answer(call, environ)
        kind, zone = str(params.get("InstanceType", "")), str(params.get("AvailabilityZone", ""))
        priced = catalogue.known(kind) and zone
        no = refusal(
            effect.error,
            service=call.service,
            status=effect.status,
            message=effect.message,
            action=call.action,
            instance_type=kind,
            zone=zone,
            max_price=params.get("InstanceMarketOptions.SpotOptions.MaxPrice", ""),
            spot_price=f"{catalogue.spot_usd_per_hour(kind, call.region, zone):.6f}" if priced else "",
            limit=0,
        )
        _drain(call, environ)
        return error_answer(call.service, no.code, no.status, no.message)

    def _answer(self, call: Call, environ: Environ) -> Answer:
        refused = self._wrong_region(call) or authority.refused(self._world, call, environ)
        if refused is not None:
            _drain(call, environ)
            return refused
        if call.action == POST_OBJECT:
            return post_object.answer(environ, self._put_posted)
        if call.service == "sts" and call.action == "GetCallerIdentity" and environ[authority.SESSION_KEY] is not None:
            return authority.identity(self._world, environ[authority.SESSION_KEY])
        if call.service == "scheduler":
            return scheduler.answer(self._world, call)
        own = json_services.answer(self._world.settings, call)
        if own is not None:
            return own
        return self._world.tokens.once(call, lambda: self._ask_moto(call, environ))

    def _put_posted(self, request: Environ) -> Answer:
        """An upload by form, or the question where its bucket lies, as the request that it stands for."""
        call = read_call(request)
        return authority.refused(self._world, call, request) or self._ask_moto(call, request)

    def _wrong_region(self, call: Call) -> Answer | None:
        """What a region says that the account has not enabled, or that does not exist."""
        if call.service in _GLOBAL:
            return None
        if call.region in OPT_IN_REGIONS and call.region not in self._world.settings.enabled_regions:
            no = refusal(INVALID_CREDENTIALS, service=call.service)
        elif not catalogue.offered(call.region):
            no = refusal(
                INVALID_CREDENTIALS, service=call.service, message="Credential should be scoped to a valid region."
            )
        else:
            return None
        return error_answer(call.service, no.code, no.status, no.message)

    def _ask_moto(self, call: Call, environ: Environ) -> Answer:
        with self._world.lock:
            if call.service == "iam":
                self._world.account.open()
            if call.action.startswith("Describe"):
                self._world.machines.forget_old()
            answer = authority.hidden(self._world, call, environ, collect(self._moto, environ))
        if answer.status == 500 and answer.content_type.startswith("text/html"):
            log.warning("moto failed at %s %s in %s with %s", call.service, call.action, call.region, call.params)
            return error_answer(call.service, "InternalError", 500, "An internal error has occurred")
        return answer


def _drain(call: Call, environ: Environ) -> None:
    """Take in an upload that is refused: its sender would otherwise find the connection reset, and no answer."""
    if call.service == "s3" and environ["REQUEST_METHOD"] in {"POST", "PUT"}:
        upload = get_input_stream(environ)
        while upload.read(1 << 20):
            pass


def _reset(connection: socket.socket) -> None:
    """End a TCP connection with a reset, as a broken network does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.shutdown(socket.SHUT_RD)
    connection.close()
