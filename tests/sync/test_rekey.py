"""New keys in the middle of everything: transfers, commands that end, and many threads."""

import hashlib
import os
import threading

import pytest

from launcher.sync.ssh import transport
from launcher.sync.ssh.connection import SshConnection, connect

SIZE_BYTES = 120 << 20
BLOCK = os.urandom(1 << 18)
OFTEN_BYTES = 1 << 20

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=["ours", "theirs"])
def rekeying(request, make_sshd, monkeypatch: pytest.MonkeyPatch):
    """A connection that changes its keys every megabyte, as we ask or as the server does; and how often it did."""
    if request.param == "ours":
        monkeypatch.setattr(transport, "REKEY_BYTES", OFTEN_BYTES)
    sshd = make_sshd("RekeyLimit 1M" if request.param == "theirs" else "")
    sshd.start()
    connection = connect(sshd.endpoint(), timeout_s=20)
    changes: list[None] = []
    line = connection._secured.transport
    set_outbound_cipher = line.packetizer.set_outbound_cipher

    def counted(*args, **options) -> None:
        changes.append(None)
        set_outbound_cipher(*args, **options)

    line.packetizer.set_outbound_cipher = counted
    yield connection, changes
    connection.close()


def test_an_upload_that_the_far_side_acknowledges_is_whole(rekeying: tuple[SshConnection, list]) -> None:
    connection, changes = rekeying
    stream = connection.open("sha256sum; read acknowledged")
    digest = hashlib.sha256()
    for _ in range(SIZE_BYTES // len(BLOCK)):
        stream.write(BLOCK)
        digest.update(BLOCK)
    stream.close_input()
    assert stream.read(64).decode() == digest.hexdigest()
    stream.finish()
    assert len(changes) > 20


def test_a_download_that_we_acknowledge_is_whole(rekeying: tuple[SshConnection, list]) -> None:
    connection, changes = rekeying
    stream = connection.open(f"head -c {SIZE_BYTES} /dev/zero; read acknowledged; echo $acknowledged")
    digest, size = hashlib.sha256(), 0
    while size < SIZE_BYTES:
        data = stream.read(SIZE_BYTES - size)
        digest.update(data)
        size += len(data)
    stream.write(b"thanks\n")
    assert stream.finish().stdout == b"thanks\n"
    zeros = hashlib.sha256()
    for _ in range(SIZE_BYTES >> 20):
        zeros.update(bytes(1 << 20))
    assert digest.digest() == zeros.digest()
    assert len(changes) > 20


def test_commands_that_end_by_themselves_meanwhile_do_not_lock_up_the_line(
    rekeying: tuple[SshConnection, list],
) -> None:
    """paramiko's issue 822: the far side's close comes while our new keys are on their way."""
    connection, changes = rekeying
    for _ in range(60):
        done = connection.run("head -c 1500000 /dev/zero")
        assert (done.status, len(done.stdout)) == (0, 1_500_000)
    assert len(changes) > 20


def test_many_streams_write_and_read_meanwhile(rekeying: tuple[SshConnection, list]) -> None:
    connection, changes = rekeying
    results: list[bool] = []

    def exchange(number: int) -> None:
        data = bytes([number]) * 4_000_000
        results.append(connection.run("cat", stdin=data).stdout == data)
        results.append(connection.run("exit 3", stdin=data).status == 3)

    threads = [threading.Thread(target=exchange, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 12
    assert len(changes) > 10
