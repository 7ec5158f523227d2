"""The part of cloud-init that gpurun's user-data asks for, done from the instance metadata service (IMDSv2).

Known: `bootcmd`, `ssh_keys`, `ssh_authorized_keys`, the EC2 key pair, `write_files`, `runcmd`, and `#!` scripts.
See https://cloudinit.readthedocs.io/en/latest/reference/modules.html for what they mean.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

METADATA_WAIT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where cloud-init finds and puts things on this host."""

    metadata_address: str
    metadata_port: int
    root: Path
    """What `/` of `write_files` stands for."""
    home: Path
    """The default user's, shown to the guest as /home/ubuntu."""
    ssh: Path
    """The folder of the host keys."""
    state: Path
    """Marks of what is done once in an instance's life."""
    site_packages: tuple[str, ...]
    """Where PyYAML lies, needed only when the cloud-config is not JSON."""
    owner: tuple[int, int] | None
    """uid and gid of the default user; `None`: files are already made as that user."""


def boot(places: Places, start_ssh: Callable[[], None]) -> None:
    """Do what the user-data asks for, starting SSH in between, as cloud-init's stages do."""
    user_data = fetch(places, "user-data")
    key = fetch(places, "meta-data/public-keys/0/openssh-key").decode().strip()
    config = read_config(user_data, places.site_packages)
    instance_id = fetch(places, "meta-data/instance-id").decode()
    run_commands("bootcmd", config, places, {"INSTANCE_ID": instance_id})
    first = once(places, instance_id)
    if first:
        write_keys(config, key, places)
        write_files(config.get("write_files"), places)
    start_ssh()
    if first:
        run_commands("runcmd", config, places, {})
        run_script(user_data, places)
    say("finished")


def say(message: str) -> None:
    """Put a line on the console."""
    sys.stderr.write(f"[cloud-init] {message}\n")
    sys.stderr.flush()


def once(places: Places, instance_id: str) -> bool:
    """Whether this is the instance's first boot; remembered over reboots, not by machines of its image."""
    mark = places.state / "instances" / (instance_id or "unknown") / "boot-finished"
    mark.parent.mkdir(parents=True, exist_ok=True)
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def fetch(places: Places, path: str) -> bytes:
    """What the metadata service holds at `path` below /latest, empty where it holds nothing (IMDSv2)."""
    lifetime = {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
    status, token = _request(places, "PUT", "/latest/api/token", lifetime)
    if status != 200:
        return b""
    header = {"X-aws-ec2-metadata-token": token.decode()}
    status, body = _request(places, "GET", f"/latest/{path}", header)
    return body if status == 200 else b""


def _request(places: Places, method: str, path: str, headers: dict[str, str]) -> tuple[int, bytes]:
    lines = [f"{method} {path} HTTP/1.0", f"Host: {places.metadata_address}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    address = (places.metadata_address, places.metadata_port)
    with socket.create_connection(address, METADATA_WAIT_S) as line:
        line.sendall("\r\n".join([*lines, "Content-Length: 0", "", ""]).encode())
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def read_config(user_data: bytes, site_packages: tuple[str, ...] = ()) -> dict[str, Any]:
    """The cloud-config in `user_data`; empty, and said on the console, where there is none or it is broken."""
    if not user_data.startswith(b"#cloud-config"):
        return {}
    text = user_data.decode(errors="replace").partition("\n")[2]
    try:
        config = json.loads(text)
    except ValueError:
        config = _read_yaml(text, site_packages)
    return config if isinstance(config, dict) else {}


def _read_yaml(text: str, site_packages: tuple[str, ...]) -> object:
    sys.path.extend(path for path in site_packages if path not in sys.path)
    import yaml  # noqa: PLC0415 - a host whose cloud-config is JSON, as the launcher's is, never pays for it

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        say(f"cloud-config is not YAML: {error}")
        return {}


def write_keys(config: dict[str, Any], ec2_key: str, places: Places) -> None:
    """Install the host keys and the default user's authorized keys."""
    places.ssh.mkdir(parents=True, exist_ok=True)
    for name, material in (config.get("ssh_keys") or {}).items():
        algorithm, _, kind = name.rpartition("_")
        if algorithm not in {"ed25519", "rsa", "ecdsa"} or kind not in {"private", "public"}:
            say(f"ssh_keys: {name} is not known")
            continue
        suffix = "" if kind == "private" else ".pub"
        key = places.ssh / f"ssh_host_{algorithm}_key{suffix}"
        _write(key, (material.strip() + "\n").encode(), 0o600 if kind == "private" else 0o644)
    lines = [*(config.get("ssh_authorized_keys") or []), *([ec2_key] if ec2_key else [])]
    folder = places.home / ".ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    _write(folder / "authorized_keys", "".join(f"{line.strip()}\n" for line in lines).encode(), 0o600)
    if places.owner:
        os.chown(folder, *places.owner)
        os.chown(folder / "authorized_keys", *places.owner)


def write_files(entries: list[dict[str, Any]] | None, places: Places) -> None:
    """Write each file of `write_files`; what cannot be written is said on the console."""
    for entry in entries or []:
        try:
            _write_file(entry, places)
        except (OSError, KeyError, ValueError, TypeError) as error:
            say(f"write_files: {entry.get('path') if isinstance(entry, dict) else entry}: {error!r}")


def _write_file(entry: dict[str, Any], places: Places) -> None:
    path = place_of(entry["path"], places)
    content = str(entry.get("content") or "").encode()
    if entry.get("encoding") in {"b64", "base64"}:
        content = base64.b64decode(content)
    if entry.get("append") and path.exists():
        content = path.read_bytes() + content
    path.parent.mkdir(parents=True, exist_ok=True)
    _write(path, content, int(str(entry.get("permissions") or "0644"), 8))
    if places.owner and str(entry.get("owner", "")).split(":")[0] == "ubuntu":
        os.chown(path, *places.owner)


def place_of(path: str, places: Places) -> Path:
    """Where the guest's absolute `path` lies on this host; raises `ValueError` if it is not absolute or climbs."""
    if not path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"{path} is not an absolute path without ..")
    home = "/home/ubuntu"
    if path == home or path.startswith(f"{home}/"):
        return places.home / path[len(home) :].lstrip("/")
    return places.root / path.lstrip("/")


def _write(path: Path, content: bytes, mode: int) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    path.chmod(mode)


def run_commands(name: str, config: dict[str, Any], places: Places, variables: dict[str, str]) -> None:
    """Run all commands of a module as cloud-init does, as one script of a shell, which an `exit` therefore ends.

    What it leaves in the background lives on.
    """
    try:
        lines = [shell_line(command) for command in config.get(name) or []]
    except TypeError as error:
        say(f"{name}: {error}")
        return
    if lines:
        script = places.state / "scripts" / name
        script.parent.mkdir(parents=True, exist_ok=True)
        _write(script, "\n".join(["#!/bin/sh", *lines, ""]).encode(), 0o700)
        _run(["/bin/sh", str(script)], places, variables)


def shell_line(command: object) -> str:
    """A text as it is, a list as words; raises `TypeError` for anything else."""
    if isinstance(command, list):
        return " ".join(shlex.quote(str(word)) for word in command)
    if isinstance(command, str):
        return command
    raise TypeError(f"{command!r} is neither a text nor a list")


def run_script(user_data: bytes, places: Places) -> None:
    """Run user-data that is itself a script."""
    if not user_data.startswith(b"#!"):
        return
    script = places.state / "user-data"
    _write(script, user_data, 0o700)
    _run([str(script)], places, {})


def _run(argv: list[str], places: Places, variables: dict[str, str]) -> None:
    started = time.monotonic()
    # systemd gives a unit of root's no HOME; a loopback host has one, lest the laptop's be taken.
    kept = {name: value for name, value in os.environ.items() if name != "HOME" or places.root != Path("/")}
    status = os.spawnvpe(os.P_WAIT, argv[0], argv, {**kept, **variables})  # noqa: S606 - a shell is not wanted
    if status:
        say(f"{Path(argv[-1]).name} ended with {status} after {time.monotonic() - started:.1f} s")
