"""The sandbox's process: `python -m launcher.sandbox.daemon --state DIR --hosts auto|namespaces|loopback|none`."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.errors import GpurunError
from launcher.sandbox.cloud import environment, images
from launcher.sandbox.files import write, write_aws_files
from launcher.sandbox.layout import HOSTS, SandboxPaths, process_birth

if TYPE_CHECKING:
    from launcher.sandbox.cloud.cloud import Cloud

log = logging.getLogger("launcher.sandbox")


def main() -> int:
    """Run the sandbox until SIGTERM."""
    asked = _arguments()
    if asked.detach:
        _detach()
    paths = SandboxPaths(asked.state.absolute())
    paths.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    write(paths.pid, json.dumps({"pid": os.getpid(), "born": process_birth(os.getpid())}))
    logging.basicConfig(filename=paths.log, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        _serve(paths, asked.hosts, asked.port, asked.ready_fd, ended)
    except GpurunError as error:
        log.error("%s (%s)", error.message, error.hint)  # noqa: TRY400 - it says all; the place says nothing
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
    write(paths.images, json.dumps(images.catalogue()))
    environment.configure(paths.images)
    from launcher.sandbox.cloud.cloud import Cloud  # noqa: PLC0415 - it imports moto, which reads the environment

    cloud = Cloud(paths.home, kind, port)
    try:
        write_aws_files(paths, cloud.port)
        cloud.open()
        _announce(paths, cloud, ready_fd)
        ended.wait()
    finally:
        paths.ready.unlink(missing_ok=True)
        cloud.close()
    log.info("stopped")


def _announce(paths: SandboxPaths, cloud: Cloud, ready_fd: int | None) -> None:
    """Say that it is ready: to the file that everybody reads, and to the starter."""
    facts = {
        "endpoint_url": f"http://127.0.0.1:{cloud.port}",
        "port": cloud.port,
        "pid": os.getpid(),
        "born": process_birth(os.getpid()),
        "hosts": cloud.hosts,
        "warning": cloud.warning,
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write(paths.ready, json.dumps(facts, indent=2) + "\n")
    log.info("ready on port %d with %s hosts", cloud.port, cloud.hosts)
    _report(ready_fd, {})


def _report(ready_fd: int | None, message: dict[str, Any]) -> None:
    if ready_fd is None:
        return
    try:
        os.write(ready_fd, json.dumps(message).encode())
        os.close(ready_fd)
    except OSError:
        log.info("whoever started the sandbox has gone")


if __name__ == "__main__":
    status = main()
    logging.shutdown()
    # Everything is released; taking moto's many objects apart one by one would cost two seconds more.
    os._exit(status)
