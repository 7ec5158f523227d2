"""A machine that has python3 and sshd, and nothing else that moves files: everything works."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from launcher.domain import Endpoint, HostKey
from launcher.errors import GpurunError
from launcher.sandbox.hosts import namespaces
from launcher.sandbox.hosts.image import HostImage, read_image
from launcher.sandbox.machine import Machine, MetadataAnswer
from launcher.sync import remote_agent, stream, transfer
from launcher.sync.layout import RemoteLayout
from launcher.sync.local import ignore, tree
from launcher.sync.ssh.keys import generate, host_key_of, write_private
from launcher.sync.telling import Report
from launcher.sync.wire import session
from launcher.sync.wire.lines import Lines

pytestmark = pytest.mark.namespaces

TOOLS = (
    "rsync",
    "scp",
    "sftp",
    "sftp-server",
    "ssh",
    "zstd",
    "zstdmt",
    "unzstd",
    "zstdcat",
    "gzip",
    "tar",
    "sha256sum",
)
FOLDERS = (
    "bin",
    "sbin",
    "usr/bin",
    "usr/sbin",
    "usr/local/bin",
    "usr/lib/openssh",
    "usr/libexec",
    "usr/libexec/openssh",
)
LAYOUT = RemoteLayout("bare-7f3a")
SSHD = """\
#!/bin/sh
grep -v Subsystem /etc/ssh/sshd_config > /tmp/sshd_config
LD_LIBRARY_PATH={folder} exec {sshd} -D -e -f /tmp/sshd_config
"""


def bare_image(folder: Path) -> HostImage:
    """This computer without any of that; what sshd itself is linked with is shown to sshd alone."""
    image = read_image()
    if image.sshd is None:
        pytest.skip("no OpenSSH server on this machine")
    libraries = [
        path for place in ("lib", "lib64", "usr/lib", "usr/lib64") for path in Path("/", place).rglob("libzstd.so*")
    ]
    for path in libraries:
        shutil.copyfile(path, folder / path.name)
    wrapper = folder / "sshd"
    wrapper.write_text(SSHD.format(folder=folder, sshd=image.sshd))
    wrapper.chmod(0o755)
    gone = [path for name in TOOLS for place in FOLDERS if os.path.lexists(path := f"/{place}/{name}")]
    hidden = {str(path).lstrip("/") for path in (*gone, *libraries)}
    return replace(
        image,
        hidden=(*image.hidden, *sorted(hidden)),
        environment=(*image.environment, str(folder)),
        sshd=str(wrapper),
    )


@pytest.fixture(scope="module")
def bare() -> Iterator[Endpoint]:
    """Where a sandbox host of that image answers."""
    # Short, and open to the host's user, unlike tmp_path.
    with tempfile.TemporaryDirectory(prefix="gpurun-bare-") as name, pytest.MonkeyPatch.context() as patch:
        scratch = Path(name).resolve()
        scratch.chmod(0o755)
        (scratch / "sshd").mkdir()
        image = bare_image(scratch / "sshd")
        patch.setattr(namespaces, "read_image", lambda: image)
        try:
            driver = namespaces.NamespaceDriver(scratch / "state")
        except GpurunError as error:
            pytest.skip(error.message)
        host_key, user_key = generate("host"), generate("user")
        write_private(scratch / "key", user_key.private_pem)
        (scratch / "no_config").write_text("")
        try:
            host = driver.boot(machine_of(scratch, host_key, user_key.public_line))
            yield endpoint_of(scratch, host.ssh_port, host_key_of(host_key.public_line))
        finally:
            driver.close()


def machine_of(scratch: Path, host_key: Any, authorized: str) -> Machine:
    secrets = {"ed25519_private": host_key.private_pem, "ed25519_public": host_key.public_line}
    known = {
        "/latest/user-data": b"#cloud-config\n" + json.dumps({"ssh_keys": secrets}).encode(),
        "/latest/meta-data/public-keys/0/openssh-key": authorized.encode(),
        "/latest/meta-data/instance-id": b"i-bare",
        "/latest/api/token": b"token",
    }
    return Machine(
        instance_id="i-bare",
        hostname="bare",
        private_address="10.0.0.9",
        public_address="198.18.0.9",
        user_data=known["/latest/user-data"],
        authorized_key=authorized,
        boot_delay_s=0.0,
        folder=scratch / "state/hosts/i-bare",
        cloud_port=1,
        metadata=lambda method, path, headers: MetadataAnswer(status=200, body=known.get(path, b"")),
        admits=lambda peer, port: True,
        ended=lambda ending: None,
    )


def endpoint_of(scratch: Path, port: int, host_key: HostKey) -> Endpoint:
    return Endpoint(
        address="127.0.0.1",
        user="ubuntu",
        port=port,
        host_keys=(host_key,),
        key_file=scratch / "key",
        config_file=scratch / "no_config",
    )


@pytest.fixture
def lines(bare: Endpoint) -> Iterator[Lines]:
    opened = Lines(bare, connect_timeout_s=60.0)
    yield opened
    opened.close()


def silent(_: object) -> None:
    """Nobody watches."""


def refuse(warning: str) -> None:
    """Nothing falls back to anything else."""
    raise AssertionError(warning)


def scan(root: Path) -> tree.Scan:
    return tree.scan(root, ignore=ignore.nothing())


def push(lines: Lines, root: Path, remote_dir: str, report: Report = silent) -> Any:
    return transfer.push(lines, scan(root), remote_dir, report, "code", warn=refuse)


def contents(root: Path) -> dict[str, object]:
    return {
        str(path.relative_to(root)): path.readlink() if path.is_symlink() else path.is_file() and path.read_bytes()
        for path in root.rglob("*")
    }


def test_the_machine_is_bare(lines: Lines) -> None:
    connection = lines.control.fresh(60.0)
    found = connection.run(" ; ".join(f"command -v {name}" for name in TOOLS))
    assert (found.stdout, found.stderr) == (b"", b"")
    places = " ".join(f"/{place}/{name}" for place in FOLDERS for name in TOOLS)
    assert connection.run(f"ls -d {places} 2>/dev/null").stdout == b""
    assert connection.run("find / -xdev -name 'libzstd*' 2>/dev/null | grep -v /gpurun-bare-").stdout == b""
    for way in ("import ctypes; ctypes.CDLL('libzstd.so.1')", "import compression.zstd", "import backports.zstd"):
        assert connection.run(f'python3 -IS -c "{way}"').status == 1, way
    assert connection.subsystem("sftp") is None
    with session.session(connection) as wire:
        assert session.ask(wire, op="state", root="nowhere/at/all")["zstd"] is False
    assert connection.run("python3 -IS -c 'print(6 * 7)'").stdout == b"42\n"


def test_everything_works(tmp_path: Path, lines: Lines) -> None:
    root = tmp_path / "code"
    (root / "package/empty").mkdir(parents=True)
    (root / "train.py").write_text(
        "import os, shutil, sys, time\n"
        "out = os.environ['GPURUN_OUTPUT_DIR']\n"
        "shutil.copy('weights', out + '/weights')\n"
        "os.makedirs(out + '/logs')\n"
        "os.symlink('../weights', out + '/logs/latest')\n"
        "for number in range(200000): print('step', number)\n"
        "sys.exit(5)\n"
    )
    (root / "table.csv").write_text("".join(f"{n},{n * n % 977},label {n % 7}\n" for n in range(200_000)))
    (root / "weights").write_bytes(os.urandom(12_000_000))
    for number in range(400):
        (root / f"package/{number}.py").write_text(f"value = {number}\n")
    (root / "link").symlink_to("package")

    # Up, compressed by what both sides have.
    sent = push(lines, root, LAYOUT.code)
    csv_bytes = (root / "table.csv").stat().st_size
    assert sent.files == 403
    assert 12_000_000 < sent.sent_bytes < 12_000_000 + csv_bytes
    # Nothing, then a delta.
    assert push(lines, root, LAYOUT.code).files == 0
    with (root / "weights").open("r+b") as weights:
        weights.seek(5_000_000)
        weights.write(os.urandom(1000))
    (root / "package/7.py").unlink()
    (root / "package/8.py").write_text("value = 'eight'\n")
    sent = push(lines, root, LAYOUT.code)
    assert sent.sent_bytes < 1_000_000
    transfer.pull(lines, LAYOUT.code, tmp_path / "again", silent, "code", warn=refuse)
    assert contents(tmp_path / "again") == contents(root)

    # The job and its log, to the byte.
    connection = lines.control.fresh(20.0)
    job = remote_agent.AgentJob(
        argv=["python3", "train.py"],
        device="cpu",  # type: ignore[arg-type]
        floatx="float32",  # type: ignore[arg-type]
        grace_s=5.0,
        deadline_in_s=0.0,
        results_grace_s=0.0,
        lease_s=60.0,
        owned=False,
    )
    remote_agent.start(connection, LAYOUT, job)
    told: list[Exception] = []
    follower = stream.follow(lambda: lines.log.fresh(20.0), LAYOUT, on_lost=told.append)
    log = next(follower)
    lines.log.current().close()
    log += b"".join(follower)
    assert log == b"".join(b"step %d\n" % number for number in range(200_000))
    assert told
    assert follower.report.exit_status == 5

    # Home.
    manifest = transfer.pull(lines, LAYOUT.output, tmp_path / "home", silent, "results", warn=refuse)
    assert {entry.name for entry in manifest.entries} == {"weights", "logs", "logs/latest"}
    assert (tmp_path / "home/logs/latest").read_bytes() == (root / "weights").read_bytes()
