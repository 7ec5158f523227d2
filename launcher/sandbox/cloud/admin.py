"""The sandbox's own API, below /_sandbox: what a test or `gpurun sandbox` asks for and AWS has no call for."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from launcher.errors import GpurunError
from launcher.sandbox.cloud.guest import Guest
from launcher.sandbox.cloud.wire import Answer, Environ, json_answer
from launcher.sandbox.cloud.world import World
from launcher.sandbox.hosts import clock

_JSON = "application/json"
Body = dict[str, Any]


class _Refused(Exception):
    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


def administer(world: World, environ: Environ, path: str) -> Answer:
    """One request to the sandbox itself."""
    if path == "/checkip":  # as checkip.amazonaws.com answers
        return Answer(status=HTTPStatus.OK, body=f"{_seen(world, environ)}\n".encode(), content_type="text/plain")
    try:
        value = _route(world, environ["REQUEST_METHOD"], path.strip("/").split("/"), environ)
    except _Refused as no:
        return json_answer({"error": str(no)}, status=no.status, content_type=_JSON)
    except GpurunError as error:
        return json_answer({"error": error.message, "hint": error.hint}, status=HTTPStatus.CONFLICT, content_type=_JSON)
    except (ValueError, TypeError, KeyError) as error:
        return json_answer({"error": str(error)}, status=HTTPStatus.BAD_REQUEST, content_type=_JSON)
    return json_answer(value, content_type=_JSON)


def _route(world: World, method: str, parts: list[str], environ: Environ) -> object:
    if len(parts) == 3 and parts[0] == "instances" and method == "POST":
        return _act(world, parts[1], parts[2], _body(environ))
    if len(parts) == 3 and parts[0] == "instances" and parts[2] == "console" and method == "GET":
        return {"console": _guest(world, parts[1]).console().decode(errors="replace")}
    if len(parts) == 2 and parts[0] == "faults" and method == "DELETE":
        return _lift(world, int(parts[1]))
    routes: dict[tuple[str, str], Callable[[], object]] = {
        ("GET", "status"): lambda: _status(world),
        ("GET", "instances"): lambda: _instances(world),
        ("GET", "faults"): world.faults.listed,
        ("POST", "faults"): lambda: world.faults.add(_body(environ)),
        ("DELETE", "faults"): world.faults.clear,
        ("GET", "journal"): world.journal.listed,
        ("DELETE", "journal"): world.journal.clear,
        ("GET", "settings"): world.settings.as_dict,
        ("POST", "settings"): lambda: _change(world, _body(environ)),
        ("GET", "address"): lambda: {"address": world.machines.laptop_address},
        ("POST", "address"): lambda: _move(world, str(_body(environ)["address"])),
    }
    handler = routes.get((method, "/".join(parts)))
    if handler is None:
        raise _Refused(HTTPStatus.NOT_FOUND, f"the sandbox has no {method} /{'/'.join(parts)}")
    return handler()


def _body(environ: Environ) -> Body:
    size = int(environ.get("CONTENT_LENGTH") or 0)
    value = json.loads(environ["wsgi.input"].read(size) or b"{}")
    if not isinstance(value, dict):
        raise TypeError("expected a JSON object")
    return value


def _status(world: World) -> Body:
    states = [guest.instance.state for guest in world.machines.listed()]
    return {"hosts": world.hosts, "instances": {state: states.count(state) for state in sorted(set(states))}}


def _instances(world: World) -> list[Body]:
    with world.lock:
        return [guest.summary() for guest in world.machines.listed()]


def _change(world: World, data: Body) -> Body:
    for name in ("disk_bytes", "clock_ahead_s"):
        if data.get(name) and world.hosts != "namespaces":
            raise _Refused(HTTPStatus.CONFLICT, f"{name}: {world.hosts} hosts have the disk and clock of this computer")
    if data.get("clock_ahead_s"):
        clock.check()
    with world.lock:
        world.settings = world.settings.changed(data)
    return world.settings.as_dict()


def _seen(world: World, environ: Environ) -> str:
    """Under which address the cloud sees the caller."""
    peer = environ.get("REMOTE_ADDR", "127.0.0.1")
    return world.machines.laptop_address if ipaddress.ip_address(peer).is_loopback else str(peer)


def _move(world: World, address: str) -> Body:
    world.machines.move_laptop(address)
    return {"address": world.machines.laptop_address}


def _lift(world: World, rule_id: int) -> Body:
    if not world.faults.lift(rule_id):
        raise _Refused(HTTPStatus.NOT_FOUND, f"no fault {rule_id} is in force")
    return {}


def _act(world: World, instance_id: str, verb: str, body: Body) -> Body:
    machines, guest = world.machines, _guest(world, instance_id)
    if verb not in {"interrupt", "rebalance", "kill", "partition", "fill"}:
        raise _Refused(HTTPStatus.NOT_FOUND, f"an instance cannot be asked to {verb}")
    if not guest.wanted:
        raise _Refused(HTTPStatus.CONFLICT, f"{instance_id} is {guest.instance.state}")
    if verb == "interrupt":
        machines.interrupt(guest, float(body.get("in_s", 120.0)))
    elif verb == "rebalance":
        machines.recommend_rebalance(guest)
    elif verb == "kill":
        machines.kill(guest)
    elif verb == "fill":
        leave = body.get("leave_bytes")
        machines.fill(guest, None if leave is None else _positive(leave))
    else:
        machines.partition(guest, cut=bool(body.get("cut", True)))
    return guest.summary()


def _guest(world: World, instance_id: str) -> Guest:
    try:
        return world.machines.get(instance_id)
    except KeyError:
        raise _Refused(HTTPStatus.NOT_FOUND, f"no instance {instance_id} in this sandbox") from None


def _positive(size_bytes: Any) -> int:
    if int(size_bytes) < 0:
        raise ValueError(f"{size_bytes} bytes cannot be left")
    return int(size_bytes)
