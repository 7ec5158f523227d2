"""One upload to several machines: over the laptop's line once, from the first machine to the others by themselves."""

from __future__ import annotations

import os
import secrets
import stat
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from launcher.agent.hashes import digest_of_leaves
from launcher.agent.holes import leaves_of_file
from launcher.agent.record import line_of, state_digest
from launcher.domain import TransferProgress
from launcher.errors import RemoteError, TransferError
from launcher.ports import Lines
from launcher.sync.local.memory import Memory
from launcher.sync.local.tree import Item, Scan
from launcher.sync.names import told
from launcher.sync.telling import Note, Report, silent
from launcher.sync.up.difference import difference
from launcher.sync.up.far_folder import FarFolder
from launcher.sync.up.packing import SMALL_BYTES, THREADS
from launcher.sync.up.upload import CONTROL_TIMEOUT_S, Transferred, push
from launcher.sync.wire.frames import Json, Wire
from launcher.sync.wire.session import ask, open_session, session

IDLE_S = 60.0
"""How long the first machine goes on serving when nobody calls: a laptop may vanish without a farewell."""
TICK_S = 0.1
CERTIFICATE_LIFE = timedelta(days=365)
"""Either way, so that no machine's clock matters: it is compared as it stands, and its key is gone in minutes."""
_READ_ONLY = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FannedOut:
    """What went where."""

    pushed: tuple[Transferred, ...]
    """By the laptop, to the first machine and to each of the others: nothing to these, where all went well."""
    gathered_bytes: tuple[int, ...]
    """From the first machine, by each of the others."""


class First(NamedTuple):
    """The machine that passes on what it gets."""

    lines: Lines
    private_address: str
    """By which the others reach it in the network that they share."""


def fan_out(
    first: First,
    others: Sequence[Lines],
    scan: Scan,
    remote_dir: str,
    report: Report,
    label: str,
    *,
    memory: Memory | None = None,
    note: Note = silent,
) -> FannedOut:
    """Make `remote_dir` hold what was scanned on all these machines; raises as `upload.push` does.

    The first one gets it from here. It then serves the folder on its private address, on a port that the system
    chooses, while the others take from it what they lack: over TLS, with a
    certificate and tokens that are made here for this one upload and handed out over the SSH lines. Every file is
    compared with the digest that this laptop has computed, whatever the first machine says, and is staged; then
    `upload.push` looks at each machine, sends what did not come, and puts everything in place. A machine that cannot
    reach the first one thus gets it from here, which `note` is told.

    gpurun has no jobs on several machines yet; who makes them calls this in the place of `upload.push`, and lets the
    run's security group in by itself: one rule that allows TCP, all ports, from the group to the group.
    """
    pushed = [push(first.lines, scan, remote_dir, report, label, memory=memory)]
    gathers = _gather_all(first, others, scan, remote_dir, _Bar(report, label), memory, note)
    pushed += [
        _finish(lines, scan, remote_dir, report, label, each.why) for lines, each in zip(others, gathers, strict=True)
    ]
    return FannedOut(pushed=tuple(pushed), gathered_bytes=tuple(each.size_bytes for each in gathers))


@dataclass(slots=True, kw_only=True)
class _Gather:
    """How far one machine is."""

    files: int = 0
    size_bytes: int = 0
    total_files: int = 0
    total_bytes: int = 0
    why: str = ""
    """Why not all of it came."""


class _Offer(NamedTuple):
    """Where the first machine serves the folder, and how it is known."""

    address: str
    port: int
    certificate: str
    tokens: list[str]


def _gather_all(
    first: First,
    others: Sequence[Lines],
    scan: Scan,
    remote_dir: str,
    bar: _Bar,
    memory: Memory | None,
    tell: Note,
) -> list[_Gather]:
    """Have every other machine take what it lacks; what goes wrong is told, and the push makes up for it."""
    gathers = [_Gather() for _ in others]
    if not others:
        return gathers
    digests = digests_of(scan, memory)
    try:
        with _shared(first, remote_dir, len(others)) as offer:
            _run(others, gathers, scan, remote_dir, offer, digests, bar)
    except RemoteError as error:
        for each in gathers:
            each.why = each.why or error.message
    for number, each in enumerate(gathers, start=2):
        if each.why:
            tell(f"machine {number} did not get all of it from the first one ({each.why}): the rest goes up from here")
    return gathers


@contextmanager
def _shared(first: First, remote_dir: str, count: int) -> Iterator[_Offer]:
    """Have the first machine serve the folder while the block runs; raises `RemoteError`."""
    certificate, key = make_certificate()
    tokens = [secrets.token_hex(32) for _ in range(count)]
    wire = open_session(first.lines.control.fresh(CONTROL_TIMEOUT_S))
    try:
        answer = ask(
            wire,
            op="share",
            root=remote_dir,
            address=first.private_address,
            certificate=certificate,
            key=key,
            tokens=tokens,
            idle_s=IDLE_S,
        )
        port = answer.get("port")
        if type(port) is not int or not 0 < port < 1 << 16:
            raise TransferError(f"the machine serves on no port that is one: {told(repr(port))}")
        yield _Offer(first.private_address, port, certificate, tokens)
        with suppress(RemoteError):
            ask(wire, end=True)
    finally:
        wire.close()


def make_certificate() -> tuple[str, str]:
    """A certificate that vouches for itself, and its key, both PEM; for one upload."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gpurun")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CERTIFICATE_LIFE)
        .not_valid_after(now + CERTIFICATE_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def _run(
    others: Sequence[Lines],
    gathers: Sequence[_Gather],
    scan: Scan,
    remote_dir: str,
    offer: _Offer,
    digests: dict[str, str],
    bar: _Bar,
) -> None:
    """All machines at once; an interrupt here ends them."""
    threads = [
        _Taker(lines, each, scan, remote_dir, offer, token, digests)
        for lines, each, token in zip(others, gathers, offer.tokens, strict=True)
    ]
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(TICK_S)
                bar.tell(gathers)
    except BaseException:
        for thread in threads:
            thread.hang_up()
        raise
    bar.tell(gathers)


class _Taker(threading.Thread):
    """Has one machine take what it lacks."""

    def __init__(
        self,
        lines: Lines,
        gather: _Gather,
        scan: Scan,
        remote_dir: str,
        offer: _Offer,
        token: str,
        digests: dict[str, str],
    ) -> None:
        super().__init__(name="gpurun-fan-out", daemon=True)
        self._lines = lines
        self._gather = gather
        self._scan = scan
        self._remote_dir = remote_dir
        self._offer = offer
        self._token = token
        self._digests = digests
        self._wire: Wire | None = None
        self.start()

    def run(self) -> None:
        """To its end, of whichever kind."""
        try:
            connection = self._lines.control.fresh(CONTROL_TIMEOUT_S)
            with session(connection) as wire:
                self._wire = wire
                lacking = self._lacking(FarFolder(wire, self._remote_dir))
                if lacking:
                    self._take(wire, lacking)
        except RemoteError as error:
            self._gather.why = error.message
        except Exception as error:  # noqa: BLE001  (the push that follows makes up for whatever it was)
            self._gather.why = repr(error)

    def hang_up(self) -> None:
        """End it, from another thread."""
        if self._wire is not None:
            self._wire.close()

    def _lacking(self, folder: FarFolder) -> list[Item]:
        """Files that the machine does not have as they are here."""
        folder.ask_state()
        state = folder.state()
        if state.digest == state_digest(map(line_of, self._scan.items)):
            return []
        there = folder.entries() if state.digest else {}
        return [item for item in difference(self._scan.items, there).files if item.name in self._digests]

    def _take(self, wire: Wire, lacking: Sequence[Item]) -> None:
        rows = [[item.name, item.size_bytes, item.mtime_ns, item.mode, self._digests[item.name]] for item in lacking]
        self._gather.total_files, self._gather.total_bytes = len(rows), sum(item.size_bytes for item in lacking)
        offer = self._offer
        answer = ask(
            wire,
            op="gather",
            root=self._remote_dir,
            address=offer.address,
            port=offer.port,
            certificate=offer.certificate,
            token=self._token,
            items=rows,
        )
        while True:
            self._gather.files = _count(answer.get("files"), self._gather.total_files)
            self._gather.size_bytes = _count(answer.get("bytes"), self._gather.total_bytes)
            if answer.get("end"):
                self._gather.why = told(str(answer.get("why") or ""))
                return
            answer = wire.receive_json()


def _count(value: Json, limit: int) -> int:
    return min(value, limit) if type(value) is int and value >= 0 else 0


def _finish(lines: Lines, scan: Scan, remote_dir: str, report: Report, label: str, why: str) -> Transferred:
    """Put in place what was gathered, and send what was not."""
    try:
        return push(lines, scan, remote_dir, report, label)
    except TransferError:
        if not why:
            raise
        # Something was wrong with what came from the first machine: without it.
        with session(lines.control.fresh(CONTROL_TIMEOUT_S)) as wire:
            ask(wire, op="drop", root=remote_dir)
        return push(lines, scan, remote_dir, report, label)


def digests_of(scan: Scan, memory: Memory | None = None) -> dict[str, str]:
    """The digests of all files that are as they were scanned, by name; large ones may be remembered."""
    files = [item for item in scan.items if item.kind == "f"]
    root = os.fspath(scan.root)
    with ThreadPoolExecutor(THREADS, thread_name_prefix="gpurun-hash") as pool:
        found = pool.map(lambda item: _digest(root, item, memory or Memory(None)), files)
        return {item.name: digest for item, digest in zip(files, found, strict=True) if digest}


def _digest(root: str, item: Item, memory: Memory) -> str:
    """Empty where it cannot be read or has changed: the push sees to that."""
    known = memory.digest(f"{root}/{item.name}", item) if item.size_bytes > SMALL_BYTES else ""
    if known:
        return known
    try:
        descriptor = os.open(f"{root}/{item.name}", _READ_ONLY)
    except OSError:
        return ""
    try:
        leaves = leaves_of_file(descriptor, item.size_bytes)
        found = os.fstat(descriptor)
    except OSError:
        return ""
    finally:
        os.close(descriptor)
    same = stat.S_ISREG(found.st_mode) and (found.st_size, found.st_mtime_ns) == (item.size_bytes, item.mtime_ns)
    return digest_of_leaves(leaves).hex() if same else ""


@dataclass(slots=True)
class _Bar:
    """Tells of all machines together."""

    report: Report
    label: str

    def tell(self, gathers: Sequence[_Gather]) -> None:
        """Say how far they are."""
        self.report(
            TransferProgress(
                label=f"{self.label}, from machine to machine",
                done_bytes=sum(each.size_bytes for each in gathers),
                total_bytes=sum(each.total_bytes for each in gathers),
                done_files=sum(each.files for each in gathers),
                total_files=sum(each.total_files for each in gathers),
                connections=len(gathers),
            )
        )
