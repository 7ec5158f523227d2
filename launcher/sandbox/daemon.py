"""The sandbox's process: `python -m launcher.sandbox.daemon --state DIR --hosts auto|namespaces|loopback|none`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.errors import GpurunError
from launcher.sandbox.layout import HOSTS, PROFILE, REGION, SandboxPaths, process_birth

if TYPE_CHECKING:
    from launcher.sandbox.cloud.world import World
    from launcher.sandbox.machine import Driver

log = logging.getLogger("launcher.sandbox")


def main() -> int:
    """Run the sandbox until SIGTERM."""
    asked = _arguments()
    if asked.detach:
        _detach()
    paths = SandboxPaths(asked.state.absolute())
    paths.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    _write(paths.pid, json.dumps({"pid": os.getpid(), "born": process_birth(os.getpid())}))
    logging.basicConfig(
        filename=paths.log, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s"
    )
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        _serve(paths, asked.hosts, asked.port, asked.ready_fd, ended)
    except GpurunError as error:
        log.error("%s (%s)", error.message, error.hint)
        _report(asked.ready_fd, {"error": error.message, "hint": error.hint})
        return error.exit_code
    except Exception as error:  # the starter waits to be told, whatever it was
        log.exception("the sandbox failed")
        _report(asked.ready_fd, {"error": f"the sandbox failed: {error}", "hint": f"see {paths.log}"})
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m launcher.sandbox.daemon", description=__doc__)
    parser.add_argument("--state", type=Path, required=True, help="folder for all that the sandbox writes")
    parser.add_argument("--hosts", choices=HOSTS, default="auto", help="what kind of hosts to boot")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1; 0: any that is free")
    parser.add_argument("--detach", action="store_true", help="go on in the background")
    parser.add_argument("--ready-fd", type=int, default=None, help=argparse.SUPPRESS)
    return parser.parse_args()


def _detach() -> None:
    """Leave the starter's process group, so that it has no child to wait for."""
    if os.fork():
        os._exit(0)
    os.setsid()


def _serve(paths: SandboxPaths, kind: str, port: int, ready_fd: int | None, ended: threading.Event) -> None:
    """Everything between the first port and the last host."""
    from launcher.sandbox.cloud import images, install

    listener = socket.create_server(("127.0.0.1", port), backlog=256)
    port = listener.getsockname()[1]
    with ThreadPoolExecutor(1) as beside:
        choosing: Future[Driver | None] = beside.submit(_choose, kind, paths.home)
        _write(paths.images, json.dumps(images.catalogue()))
        install.configure(paths.images)
        from launcher.sandbox.server import Server, application

        world = _world(paths.home, port, choosing)
    server = Server(listener, application(world))
    try:
        _write_aws_files(paths, port)
        server.start()
        server.warm_up()
        _announce(paths, port, world.hosts, ready_fd)
        ended.wait()
    finally:
        paths.ready.unlink(missing_ok=True)
        server.stop()
        world.machines.close()
    log.info("stopped")


def _choose(kind: str, state: Path) -> Driver | None:
    if kind == "none":
        return None
    from launcher.sandbox import hosts

    return hosts.choose(kind, state)


def _world(state: Path, port: int, choosing: Future[Driver | None]) -> World:
    from launcher.sandbox.cloud import install
    from launcher.sandbox.cloud.lifecycle import Machines
    from launcher.sandbox.cloud.ssh_config import write_ssh_config
    from launcher.sandbox.cloud.world import World

    driver = choosing.result()
    world = World(hosts=driver.kind if driver is not None else "none")
    world.machines = Machines(
        driver=driver, state=state, cloud_port=port, settings=lambda: world.settings, lock=world.lock
    )
    install.install(world.machines.launched)
    write_ssh_config(SandboxPaths(state).ssh_config, ())
    return world


def _write_aws_files(paths: SandboxPaths, port: int) -> None:
    """A profile with which any AWS tool speaks to the sandbox."""
    paths.aws_config.parent.mkdir(exist_ok=True, mode=0o700)
    _write(
        paths.aws_config,
        f"[profile {PROFILE}]\nregion = {REGION}\nendpoint_url = http://127.0.0.1:{port}\noutput = json\n",
    )
    _write(
        paths.aws_credentials,
        f"[{PROFILE}]\naws_access_key_id = AKIASANDBOXSANDBOX00\naws_secret_access_key = sandbox\n",
    )


def _announce(paths: SandboxPaths, port: int, kind: str, ready_fd: int | None) -> None:
    """Say that it is ready: to the file that everybody reads, and to the starter."""
    facts = {
        "endpoint_url": f"http://127.0.0.1:{port}",
        "port": port,
        "pid": os.getpid(),
        "born": process_birth(os.getpid()),
        "hosts": kind,
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    _write(paths.ready, json.dumps(facts, indent=2) + "\n")
    log.info("ready on port %d with %s hosts", port, kind)
    _report(ready_fd, {})


def _report(ready_fd: int | None, message: dict[str, Any]) -> None:
    if ready_fd is None:
        return
    try:
        os.write(ready_fd, json.dumps(message).encode())
        os.close(ready_fd)
    except OSError:
        log.info("whoever started the sandbox has gone")


def _write(path: Path, text: str) -> None:
    """Atomically, for the owner alone."""
    partial = path.with_name(path.name + ".new")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    partial.replace(path)


if __name__ == "__main__":
    raise SystemExit(main())
