"""Disks that become images, and machines whose disks begin as one."""

from __future__ import annotations

import shutil
from typing import Any

import pytest

from launcher.errors import GpurunError
from launcher.sandbox import hosts
from launcher.sandbox.cloud.contents import Contents
from launcher.sandbox.hosts import guestcode


@pytest.mark.namespaces
def test_a_machine_begins_with_what_another_ones_disk_held(isolating: Any) -> None:
    contents = Contents(isolating.state / "snapshots")
    first = isolating.boot({"runcmd": ["echo once > /var/lib/first"]}).wait().finished()
    first.out("echo mine > ~/mine; ln -s mine ~/link")
    first.out("sudo sh -c 'umask 077; mkdir /opt/tool; echo root > /opt/tool/secret'")
    first.host.kill()
    contents.save(first.host, "snap-1")
    first.host.release()

    content = contents.hold("snap-1")
    second = isolating.boot({"runcmd": ["echo once > /var/lib/second"]}, content=content).wait().finished()
    assert (
        second.out("cat ~/link /var/lib/first /var/lib/second; sudo cat /opt/tool/secret") == "mine\nonce\nonce\nroot"
    )
    owners = second.out("stat -c %U ~/mine; stat -c %U-%a /opt/tool")
    assert owners == ("ubuntu\nroot-700" if isolating.kind == "namespaces" else owners)
    second.out("echo changed > ~/mine")
    assert (content / "home/ubuntu/mine").read_text() == "mine\n"
    second.ssh("sudo reboot")
    second.endings.get(timeout=20)
    isolating.again(second).wait()
    assert second.out("cat ~/mine") == "changed"

    contents.remove("snap-1")
    assert content.exists()  # somebody reads it
    assert contents.hold("snap-1") is None
    contents.release(content)
    assert not content.exists()
    second.host.release()


@pytest.mark.namespaces
def test_a_disk_in_memory_begins_as_an_image_and_becomes_none(isolating: Any) -> None:
    content = isolating.state / "snapshots/snap-memory"
    (content / "opt").mkdir(parents=True)
    (content / "opt/tool").write_text("there")
    booted = isolating.boot(content=content, disk_bytes=64 << 20).wait()
    assert booted.out("cat /opt/tool; df --output=fstype /opt | tail -1") == "theretmpfs"
    with pytest.raises(GpurunError, match="lies in memory, and no image can be made of it"):
        booted.host.save_disk(isolating.state / "snapshots/snap-none")
    assert not (isolating.state / "snapshots/snap-none").exists()


@pytest.mark.namespaces
def test_hosts_boot_with_the_code_that_their_driver_began_with(
    scratch: Any, bench_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = scratch / "package/guest"
    shutil.copytree(guestcode.SOURCE, source)
    monkeypatch.setattr(guestcode, "SOURCE", source)
    with bench_in("namespaces", scratch) as bench:
        content = bench.state / "snapshots/snap-1"
        (content / "opt").mkdir(parents=True)
        (content / "opt/tool").write_text("there")
        changed = (source / "rootfs.py").read_text().replace('if config["content"]:', "if False:")
        (source / "rootfs.py").write_text(changed)
        booted = bench.boot(content=content).wait()
        assert booted.out("cat /opt/tool") == "there"
        booted.host.release()


def test_a_loopback_host_has_no_disk_to_save(loopback: Any) -> None:
    booted = loopback.boot()
    with pytest.raises(GpurunError, match="one of this computer"):
        booted.host.check_disk()
    booted.host.release()


def test_what_a_killed_daemon_left_of_snapshots_is_swept_away(tmp_path: Any) -> None:
    closed = tmp_path / "snapshots/snap-1/opt/closed"
    closed.mkdir(parents=True)
    (closed / "file").write_text("left")
    closed.chmod(0)
    hosts.sweep(tmp_path)
    assert not (tmp_path / "snapshots").exists()


def test_a_copy_is_whole_or_not_there(tmp_path: Any) -> None:
    contents = Contents(tmp_path / "snapshots")
    with pytest.raises(GpurunError, match="was not copied"):
        contents.copy(tmp_path / "missing", "snap-1")
    assert not list((tmp_path / "snapshots").iterdir())
    contents.remove("snap-1")
    contents.close()
    assert not (tmp_path / "snapshots").exists()
