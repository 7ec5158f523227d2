"""One upload to three machines: three homes on this one, real agents, real TLS between them."""

from __future__ import annotations

import json
import os
import random
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from launcher.agent import gather as gather_module
from launcher.agent import share
from launcher.agent.share import LENGTH, receive
from launcher.domain import TransferProgress
from launcher.sync.local import ignore, tree
from launcher.sync.up import fan_out, upload
from launcher.sync.up.fan_out import First, digests_of, make_certificate
from launcher.sync.wire import session

REMOTE = "gpurun/digits-7f3a/code"


def silent(progress: TransferProgress) -> None:
    """Nobody watches."""


class Machine:
    """A home of its own on this machine, lines to it that count what goes either way, and its folder."""

    def __init__(self, home: Path, connection_kind: Any, lines_kind: Any) -> None:
        home.mkdir()
        self.home = home
        self.root = home / REMOTE
        self.streams: list[Any] = []
        self.connections: list[Any] = []
        self._kind = connection_kind
        self.lines = lines_kind(self.connect())
        bulk = self.lines.bulk

        def counted_bulk(number: int) -> Any:
            line = bulk(number)
            if line.connection not in self.connections:
                self.count(line.connection)
            return line

        self.lines.bulk = counted_bulk

    def connect(self) -> Any:
        connection = self._kind(home=self.home, environment={"HOME": str(self.home), "PATH": os.environ["PATH"]})
        self.count(connection)
        return connection

    def count(self, connection: Any) -> None:
        """Have every stream of a connection count its bytes."""
        self.connections.append(connection)
        opened = connection.open

        def open_counted(command: str) -> Any:
            stream = opened(command)
            write, read = stream.write, stream.read
            stream.moved_bytes = 0
            self.streams.append(stream)

            def counted_write(data: bytes) -> None:
                stream.moved_bytes += len(data)
                write(data)

            def counted_read(size: int) -> bytes:
                data = read(size)
                stream.moved_bytes += len(data)
                return data

            stream.write, stream.read = counted_write, counted_read
            return stream

        connection.open = open_counted

    @property
    def line_bytes(self) -> int:
        """Up and down, over all of its lines."""
        return sum(stream.moved_bytes for stream in self.streams)

    def processes(self) -> list[psutil.Process]:
        """Agents that live."""
        return [psutil.Process(stream.process.pid) for stream in self.streams if stream.process.poll() is None]

    def close(self) -> None:
        for connection in self.connections:
            connection.close()


@pytest.fixture
def machines(tmp_path: Path, connection: Any, lines: Any) -> Iterator[list[Machine]]:
    made = [Machine(tmp_path / f"machine {number}", type(connection), type(lines)) for number in range(3)]
    yield made
    for machine in made:
        machine.close()


def fill(root: Path, *, seed: int = 1) -> Path:
    chance = random.Random(seed)
    (root / "p/q").mkdir(parents=True)
    (root / "empty").mkdir()
    for number in range(300):
        (root / f"p/q/{number}.bin").write_bytes(chance.randbytes(chance.randrange(40_000)))
    (root / "weights").write_bytes(chance.randbytes(45_000_000))
    (root / "nothing").touch()
    (root / "train.py").write_bytes(b"print()\n")
    (root / "train.py").chmod(0o755)
    (root / "link").symlink_to("p/q")
    (root / os.fsdecode(b"caf\xe9\n")).write_bytes(b"not UTF-8")
    return root


def scan(root: Path) -> tree.Scan:
    return tree.scan(root, ignore=ignore.nothing())


def shape(root: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            found[name] = path.readlink()
        elif path.is_dir():
            found[name] = "folder"
        else:
            found[name] = (path.read_bytes(), path.stat().st_mode, path.stat().st_mtime_ns)
    return found


def send(machines: list[Machine], root: Path, address: str = "127.0.0.1", **more: Any) -> Any:
    first, *others = machines
    lines = [machine.lines for machine in others]
    report = more.pop("report", silent)
    return fan_out.fan_out(First(first.lines, address), lines, scan(root), REMOTE, report, "code", **more)


def listeners() -> set[tuple[str, int]]:
    """What this test's processes listen on."""
    mine = psutil.Process()
    found = set()
    for process in [mine, *mine.children(recursive=True)]:
        try:
            found |= {
                (each.laddr.ip, each.laddr.port)
                for each in process.net_connections()
                if each.status == psutil.CONN_LISTEN
            }
        except psutil.NoSuchProcess:
            continue
    return found


def leftovers(machine: Machine) -> list[str]:
    return [path.name for path in machine.root.parent.iterdir() if path.name.startswith(".staging")]


# What it is for.


def test_three_machines_hold_it_and_two_of_them_had_nothing_from_here(tmp_path: Path, machines: list[Machine]) -> None:
    root, told, seen = fill(tmp_path / "here"), [], []
    before = listeners()
    result = send(machines, root, note=told.append, report=seen.append)
    total_bytes = scan(root).size_bytes
    assert told == []
    for machine in machines:
        assert shape(machine.root) == shape(root)
        assert leftovers(machine) == []
    assert machines[0].line_bytes > total_bytes
    for machine in machines[1:]:
        assert machine.line_bytes < 0.05 * total_bytes
    assert result.gathered_bytes == (total_bytes, total_bytes)
    assert [each.files for each in result.pushed[1:]] == [0, 0]
    between = [each for each in seen if "machine to machine" in each.label]
    assert (between[-1].done_bytes, between[-1].total_bytes) == (2 * total_bytes, 2 * total_bytes)
    assert between[-1].finished
    assert listeners() == before


def test_an_update_moves_what_changed_alone(tmp_path: Path, machines: list[Machine]) -> None:
    root = fill(tmp_path / "here")
    send(machines, root)
    (root / "p/q/7.bin").write_bytes(os.urandom(200_000))
    (root / "p/q/8.bin").unlink()
    result = send(machines, root)
    assert result.gathered_bytes == (200_000, 200_000)
    for machine in machines:
        assert shape(machine.root) == shape(root)
    assert send(machines, root).gathered_bytes == (0, 0)


def test_with_no_others_it_is_an_upload(tmp_path: Path, machines: list[Machine]) -> None:
    root = fill(tmp_path / "here")
    assert send(machines[:1], root).gathered_bytes == ()
    assert shape(machines[0].root) == shape(root)


# What goes wrong.


def test_a_machine_beyond_reach_gets_it_from_here(tmp_path: Path, machines: list[Machine]) -> None:
    root, told = fill(tmp_path / "here"), []

    plain = fan_out.ask

    def ask(wire: Any, **request: Any) -> Any:
        if request.get("op") == "gather" and wire.stream in machines[2].streams:
            request["address"] = "127.0.0.9"
        return plain(wire, **request)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fan_out, "ask", ask)
        result = send(machines, root, note=told.append)
    assert [text.split(" (")[0] for text in told] == ["machine 3 did not get all of it from the first one"]
    assert "127.0.0.9" in told[0]
    assert "the rest goes up from here" in told[0]
    assert [each.sent_bytes > 45_000_000 for each in result.pushed] == [True, False, True]
    for machine in machines:
        assert shape(machine.root) == shape(root)


def test_an_address_that_is_not_the_first_machines_is_told(tmp_path: Path, machines: list[Machine]) -> None:
    root, told = fill(tmp_path / "here"), []
    send(machines, root, "192.0.2.1", note=told.append)
    assert len(told) == 2
    assert "assign" in told[0]
    for machine in machines:
        assert shape(machine.root) == shape(root)


@contextmanager
def sharing(machine: Machine, *, idle_s: float = 60.0) -> Iterator[tuple[Any, dict[str, Any], tuple[str, str]]]:
    """The first machine serving its folder: the wire to it, what another needs, certificate and key."""
    certificate, key = make_certificate()
    wire = session.open_session(machine.lines.control.fresh(10.0))
    token = "0123456789abcdef" * 4
    answer = session.ask(
        wire,
        op="share",
        root=REMOTE,
        address="127.0.0.1",
        certificate=certificate,
        key=key,
        tokens=[token],
        idle_s=idle_s,
    )
    way = {"address": "127.0.0.1", "port": answer["port"], "certificate": certificate, "token": token}
    try:
        yield wire, way, (certificate, key)
    finally:
        wire.close()


def gather(machine: Machine, root: Path, way: dict[str, Any]) -> dict[str, Any]:
    digests = digests_of(scan(root))
    rows = [
        [item.name, item.size_bytes, item.mtime_ns, item.mode, digests[item.name]]
        for item in scan(root).items
        if item.kind == "f"
    ]
    with session.session(machine.lines.control.fresh(10.0)) as wire:
        answer = session.ask(wire, op="gather", root=REMOTE, items=rows, **way)
        while not answer.get("end"):
            answer = wire.receive_json()
    return answer


def staged(machine: Machine) -> dict[str, object]:
    folder = machine.root.parent / ".staging-code/tree"
    return {name: entry for name, entry in shape(folder).items() if entry != "folder"}


def files(root: Path) -> dict[str, object]:
    return {name: entry for name, entry in shape(root).items() if isinstance(entry, tuple)}


def test_a_wrong_token_gets_nothing(tmp_path: Path, machines: list[Machine]) -> None:
    root = fill(tmp_path / "here")
    upload.push(machines[0].lines, scan(root), REMOTE, silent, "code")
    with sharing(machines[0]) as (wire, way, _):
        answer = gather(machines[1], root, way | {"token": "f" * 64})
        assert answer["why"] == "127.0.0.1: it hangs up"
        assert answer["bytes"] == 0
        assert staged(machines[1]) == {}
        # The right one still does.
        assert gather(machines[1], root, way)["why"] == ""
        assert session.ask(wire, end=True)["ended"] == "told"
    assert staged(machines[1]) == files(root)


def test_a_stranger_without_tls_or_with_it_learns_nothing(tmp_path: Path, machines: list[Machine]) -> None:
    root = fill(tmp_path / "here")
    upload.push(machines[0].lines, scan(root), REMOTE, silent, "code")
    with sharing(machines[0]) as (wire, way, _):
        with socket.create_connection(("127.0.0.1", way["port"]), 5) as plain:
            plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with suppress(ConnectionResetError):
                assert len(plain.recv(1000)) < 20  # an alert
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", way["port"]), 5) as plain,
            context.wrap_socket(plain) as line,
        ):
            line.sendall(b"x" * 64 + LENGTH.pack(40) + json.dumps([["train.py", "", [[0, 8]]]]).encode().ljust(40))
            assert line.recv(1000) == b""
        assert session.ask(wire, end=True) == {"ended": "told", "served_bytes": 0}


def test_a_caller_with_a_token_gets_the_record_and_nothing_else(tmp_path: Path, machines: list[Machine]) -> None:
    root = fill(tmp_path / "here")
    upload.push(machines[0].lines, scan(root), REMOTE, silent, "code")
    there = machines[0].root
    (there / "by the job").write_bytes(b"secret")
    (there / "train.py").write_bytes(b"touched\n")
    outside = tmp_path / "outside"
    outside.mkdir()
    for path in (there / "p/q").iterdir():
        path.rename(outside / path.name)
    (there / "p/q").rmdir()
    (there / "p/q").symlink_to(outside)
    digests = digests_of(scan(root))
    asked = [
        ["by the job", "", [[0, 6]]],
        ["../code/nothing", digests["nothing"], []],
        ["/etc/passwd", "", [[0, 6]]],
        ["train.py", digests["train.py"], [[0, 8]]],
        ["p/q/7.bin", digests["p/q/7.bin"], [[0, 8]]],
        ["weights", digests["train.py"], [[0, 8]]],
        ["weights", digests["weights"], [[0, 8]]],
    ]
    with sharing(machines[0]) as (_, way, _):
        line = gather_module.Source(way | {"root": REMOTE}).call()
        request = json.dumps(asked).encode()
        line.sendall(LENGTH.pack(len(request)) + request)
        assert bytes(receive(line, 7 + 8)) == b"------+" + (root / "weights").read_bytes()[:8]
        # More than there is: hung up on, not made up.
        request = json.dumps([["train.py", "x", []], ["nothing", digests["nothing"], [[0, 1]]]]).encode()
        line.sendall(LENGTH.pack(len(request)) + request)
        assert bytes(receive(line, 2)) == b"-+"
        assert line.recv(1) == b""
        line.close()


class Impostor:
    """Answers as the first machine would, but with what it likes."""

    def __init__(self, certificate: str, key: str, folder: Path, content: Callable[[str, int, int], bytes]) -> None:
        (folder / "pem").write_text(key + certificate)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "pem")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.content = content
        self.tokens: list[bytes] = []
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept)
        self.thread.start()

    def accept(self) -> None:
        servers = []
        while True:
            caller, _ = self.listener.accept()
            if not self.port:
                break
            servers.append(threading.Thread(target=self.serve, args=(caller,)))
            servers[-1].start()
        caller.close()
        for server in servers:
            server.join()

    def serve(self, caller: socket.socket) -> None:
        with caller:
            try:
                with self.context.wrap_socket(caller, server_side=True) as line:
                    self.tokens.append(bytes(receive(line, 64)))
                    while True:
                        (size,) = struct.unpack(">I", receive(line, 4))
                        for name, _, ranges in json.loads(bytes(receive(line, size))):
                            line.sendall(b"+" + b"".join(self.content(name, *each) for each in ranges))
            except (OSError, share.Closed):
                return

    def close(self) -> None:
        port, self.port = self.port, 0
        socket.create_connection(("127.0.0.1", port)).close()
        self.thread.join()
        self.listener.close()


@pytest.fixture
def impostor(tmp_path: Path) -> Iterator[Callable[..., Impostor]]:
    made: list[Impostor] = []

    def make(*arguments: Any) -> Impostor:
        made.append(Impostor(*arguments[:2], tmp_path, arguments[2]))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_another_certificate_is_refused_before_the_token_is_said(
    tmp_path: Path, machines: list[Machine], impostor: Callable[..., Impostor]
) -> None:
    root = fill(tmp_path / "here")
    certificate, _ = make_certificate()
    other = impostor(*make_certificate(), lambda name, offset, length: bytes(length))
    way = {"address": "127.0.0.1", "port": other.port, "certificate": certificate, "token": "a" * 64}
    answer = gather(machines[1], root, way)
    assert "CERTIFICATE_VERIFY_FAILED" in answer["why"]
    assert other.tokens == []
    assert staged(machines[1]) == {}


def test_tampered_content_is_refused_and_what_is_right_is_kept(
    tmp_path: Path, machines: list[Machine], impostor: Callable[..., Impostor]
) -> None:
    root = fill(tmp_path / "here")
    certificate, key = make_certificate()

    def content(name: str, offset: int, length: int) -> bytes:
        data = (root / name).read_bytes()[offset : offset + length]
        return data[:-1] + b"!" if name in {"train.py", "p/q/7.bin"} or (name == "weights" and offset) else data

    liar = impostor(certificate, key, content)
    way = {"address": "127.0.0.1", "port": liar.port, "certificate": certificate, "token": "a" * 64}
    answer = gather(machines[1], root, way)
    assert "not what was sent" in answer["why"]
    expected = files(root)
    for name in ("train.py", "p/q/7.bin", "weights"):
        del expected[name]
    assert staged(machines[1]) == expected
    # The laptop's own push makes it good.
    upload.push(machines[1].lines, scan(root), REMOTE, silent, "code")
    assert shape(machines[1].root) == shape(root)


def test_a_first_machine_that_lies_changes_nothing_for_the_others(tmp_path: Path, machines: list[Machine]) -> None:
    root, told = fill(tmp_path / "here"), []
    upload.push(machines[0].lines, scan(root), REMOTE, silent, "code")
    for name in ("weights", "p/q/7.bin"):
        path = machines[0].root / name
        found = path.stat()
        path.write_bytes(bytes(found.st_size))
        os.utime(path, ns=(found.st_mtime_ns, found.st_mtime_ns))
    send(machines, root, note=told.append)
    assert len(told) == 2
    for machine in machines[1:]:
        assert shape(machine.root) == shape(root)


def test_a_cut_in_the_middle_is_mended(
    tmp_path: Path, machines: list[Machine], impostor: Callable[..., Impostor]
) -> None:
    root = fill(tmp_path / "here")
    certificate, key = make_certificate()
    cuts: list[str] = []

    def content(name: str, offset: int, length: int) -> bytes:
        if name in {"weights", "p/q/7.bin"} and cuts.count(name) < 1:
            cuts.append(name)
            raise ConnectionError
        return (root / name).read_bytes()[offset : offset + length]

    flaky = impostor(certificate, key, content)
    way = {"address": "127.0.0.1", "port": flaky.port, "certificate": certificate, "token": "a" * 64}
    answer = gather(machines[1], root, way)
    assert sorted(cuts) == ["p/q/7.bin", "weights"]
    assert answer["why"] == ""
    assert staged(machines[1]) == files(root)


def test_when_the_first_machine_dies_in_the_middle_the_rest_goes_up_from_here(
    tmp_path: Path, machines: list[Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    root, told = fill(tmp_path / "here"), []

    def report(progress: TransferProgress) -> None:
        if "machine to machine" in progress.label:
            for process in machines[0].processes():
                process.kill()

    monkeypatch.setattr(fan_out, "TICK_S", 0.01)
    send(machines, root, note=told.append, report=report)
    assert len(told) == 2
    for machine in machines:
        assert shape(machine.root) == shape(root)
        assert leftovers(machine) == []


# Its end.


def test_it_ends_by_itself_when_nobody_calls(tmp_path: Path, machines: list[Machine]) -> None:
    root = fill(tmp_path / "here")
    upload.push(machines[0].lines, scan(root), REMOTE, silent, "code")
    with sharing(machines[0], idle_s=0.3) as (wire, way, _):
        assert wire.receive_json() == {"ended": "idle", "served_bytes": 0}
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", way["port"]), 5)
        # The session serves on.
        assert session.ask(wire, op="hello")["cpus"] > 0


def test_it_ends_with_the_channel(tmp_path: Path, machines: list[Machine], eventually: Any) -> None:
    root = fill(tmp_path / "here")
    upload.push(machines[0].lines, scan(root), REMOTE, silent, "code")
    with sharing(machines[0]) as (wire, way, _):
        line = gather_module.Source(way | {"root": REMOTE}).call()
        process = psutil.Process(wire.stream.process.pid)
        wire.close()
        eventually(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
        line.close()
    assert ("127.0.0.1", way["port"]) not in listeners()


def test_an_interrupt_ends_it_everywhere(tmp_path: Path, machines: list[Machine], eventually: Any) -> None:
    root = fill(tmp_path / "here")
    before = listeners()

    def report(progress: TransferProgress) -> None:
        if "machine to machine" in progress.label:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        send(machines, root, report=report)
    eventually(lambda: listeners() == before)
    eventually(lambda: not any(thread.name == "gpurun-fan-out" for thread in threading.enumerate()))
    send(machines, root)
    for machine in machines:
        assert shape(machine.root) == shape(root)


def test_a_key_lies_on_no_disk(tmp_path: Path, machines: list[Machine]) -> None:
    root = fill(tmp_path / "here")
    upload.push(machines[0].lines, scan(root), REMOTE, silent, "code")
    with sharing(machines[0]) as (_, _, (_, key)):
        secret = key.splitlines()[1].encode()
        pid = next(process.pid for process in machines[0].processes())
        assert secret not in Path(f"/proc/{pid}/cmdline").read_bytes()
        for path in machines[0].home.rglob("*"):
            assert not path.is_file() or secret not in path.read_bytes()
