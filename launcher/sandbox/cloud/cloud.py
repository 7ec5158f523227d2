"""The whole sandbox cloud in one process: server, moto, machines."""

from __future__ import annotations

import socket
from pathlib import Path

from launcher.sandbox import hosts
from launcher.sandbox.cloud import install, targets
from launcher.sandbox.cloud.lifecycle import Machines
from launcher.sandbox.cloud.schedules import Schedules
from launcher.sandbox.cloud.server import Server, application
from launcher.sandbox.cloud.world import World
from launcher.sandbox.machine import Driver


class Cloud:
    """A sandbox cloud on 127.0.0.1:`port`; raises `GpurunError` where such hosts cannot be had."""

    def __init__(self, state: Path, kind: str, port: int) -> None:
        driver = _driver(kind, state)
        listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port: int = listener.getsockname()[1]
        self.hosts = driver.kind if driver is not None else "none"
        self.warning = driver.warning if driver is not None else ""
        self._world = _world(state, self.port, driver)
        self._server = Server(listener, application(self._world))

    def open(self) -> None:
        """Answer from now on; returns when the first answers will be quick."""
        self._server.start()
        self._server.warm_up()
        self._server.warm_slowly()

    def close(self) -> None:
        """Answer no more, and release every host."""
        self._world.schedules.close()
        self._server.stop()
        self._world.machines.close()


def _driver(kind: str, state: Path) -> Driver | None:
    return None if kind == "none" else hosts.choose(kind, state)


def _world(state: Path, port: int, driver: Driver | None) -> World:
    world = World(hosts=driver.kind if driver is not None else "none")
    world.machines = Machines(
        driver=driver,
        state=state,
        cloud_port=port,
        settings=lambda: world.settings,
        settings_of_next=world.settings_of_next,
        lock=world.lock,
    )
    world.schedules = Schedules(targets.caller(world, f"http://127.0.0.1:{port}"))
    install.install(world.machines.launched)
    return world
