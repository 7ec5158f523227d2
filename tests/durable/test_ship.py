"""Generations as a machine sends them and a laptop brings them home."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.agent import files, objects, ship, shiplog, snapshot
from launcher.agent.post import Refused, Store, Unreachable
from launcher.agent.shiplog import NOTHING
from launcher.agent.shipped import failing, shipped
from launcher.agent.snapshot import Changing
from launcher.aws import durable
from launcher.errors import TransferError

RUN = "digits-7f3a"


def tree(folder: Path) -> dict[str, bytes | str]:
    """What lies in a folder: contents of files, targets of links."""
    return {
        path.relative_to(folder).as_posix(): f"-> {path.readlink()}" if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def keys(aws: Any, uri: str, below: str = "") -> list[str]:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    prefix = f"{prefix}/{RUN}/"
    found = aws.s3.list_objects_v2(Bucket=bucket, Prefix=prefix + below).get("Contents", [])
    return [each["Key"].removeprefix(prefix) for each in found]


def posts(cloud: Any) -> int:
    return sum(call["action"] == "PostObject" for call in cloud.journal())


def wait_for(seen: Callable[[], Any], timeout_s: float = 20) -> None:
    until = time.monotonic() + timeout_s
    while not seen():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_all_of_it_comes_home(machine: Any, home: Any, pull: Any, aws: Any, uri: str) -> None:
    machine.save("weights.npz", os.urandom(70_000))
    (machine.checkpoint / "empty").touch()
    (machine.output / "deep" / "ü\n").mkdir(parents=True)
    (machine.output / "deep" / "ü\n" / "x").write_bytes(b"x")
    (machine.output / "run.sh").write_bytes(b"#!/bin/sh\n")
    (machine.output / "run.sh").chmod(0o777)
    (machine.output / "latest").symlink_to("run.sh")
    Path(os.fsdecode(bytes(machine.output) + b"/\xff")).write_bytes(b"no text")
    machine.log.write_bytes(b"line\n" * 1000)
    machine.ship(over=True, ended_by=None)
    found = pull()
    assert tree(home.checkpoint) == tree(machine.checkpoint)
    assert tree(home.output) == tree(machine.output)
    assert home.log.read_bytes() == machine.log.read_bytes()
    assert (found.final, found.complete, found.state, found.exit_status) == (True, True, "done", 0)
    assert (home.output / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (home.output / "run.sh").stat().st_mtime_ns == (machine.output / "run.sh").stat().st_mtime_ns
    assert keys(aws, uri, "results/") == ["results/run.sh"]  # the others are no names for people


def test_results_are_objects_of_their_own_only_at_the_end(machine: Any, aws: Any, uri: str) -> None:
    (machine.output / "model.pkl").write_bytes(b"weights")
    machine.ship()
    assert keys(aws, uri, "results/") == []
    machine.ship(over=True)
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    there = aws.s3.get_object(Bucket=bucket, Key=f"{prefix}/{RUN}/results/model.pkl")
    assert there["Body"].read() == b"weights"


@pytest.mark.parametrize("why", ["interruption", "shutdown"])
def test_a_machine_whose_run_goes_on_elsewhere_leaves_the_results_alone(
    machine: Any, aws: Any, uri: str, why: str
) -> None:
    (machine.output / "model.pkl").write_bytes(b"half")
    machine.ship(over=True, ended_by=why)
    assert keys(aws, uri, "results/") == []
    assert not durable.newest(aws, uri, RUN).complete


def test_what_is_there_is_not_sent_again(machine: Any, cloud: Any) -> None:
    machine.save("a", b"a" * 1000)
    machine.save("b", b"b" * 1000)
    machine.ship()
    cloud.clear_journal()
    machine.save("b", b"c" * 1000)
    (machine.output / "copy of a").write_bytes(b"a" * 1000)
    machine.ship()
    assert posts(cloud) == 2  # the new content, and the manifest
    machine.restarted()
    cloud.clear_journal()
    machine.ship()
    assert posts(cloud) == 1


def test_a_large_file_goes_in_chunks(
    machine: Any, home: Any, pull: Any, aws: Any, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ship, "CHUNK_BYTES", 10_000)
    content = os.urandom(95_000)
    machine.save("big", content)
    machine.ship()
    assert len(keys(aws, uri, "objects/")) == 10
    machine.save("big", content[:50_000] + b"!" + content[50_001:])
    machine.ship()
    assert len(keys(aws, uri, "objects/")) == 11
    pull()
    assert tree(home.checkpoint) == tree(machine.checkpoint)


def test_what_no_recent_generation_needs_is_written_over(
    machine: Any, home: Any, pull: Any, aws: Any, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "HELD_S", 0.0)
    for number in range(16):
        machine.save("weights", os.urandom(5000))
        machine.save(f"old {number % 3}", os.urandom(10))
        with machine.log.open("ab") as log:
            log.write(b"%d\n" % number)
        if number % 7 == 6:
            machine.restarted()
        machine.ship()
        pull()
        assert tree(home.checkpoint) == tree(machine.checkpoint)
        assert home.log.read_bytes() == machine.log.read_bytes()
        for older in durable.generations(aws, uri, RUN)[1:2]:
            durable.pull_into(aws, uri, older, checkpoint=home.folder / "older")
    assert len(keys(aws, uri, "objects/")) < 20
    assert len(keys(aws, uri, "generations/")) == ship.SLOTS


def test_nothing_is_written_over_that_somebody_may_be_reading(machine: Any, aws: Any, uri: str) -> None:
    for _ in range(6):
        machine.save("weights", os.urandom(100))
        machine.ship()
    assert len(keys(aws, uri, "objects/")) == 6
    assert [each.number for each in durable.generations(aws, uri, RUN)] == [6, 5, 4, 3, 2, 1]


def test_the_later_machine_counts(machine: Any, successor: Any, home: Any, pull: Any) -> None:
    for number in range(3):
        machine.save("weights", b"first %d" % number)
        machine.ship()
    successor.save("weights", b"second")
    successor.ship()
    machine.save("weights", b"a machine that was thought dead")
    machine.ship()
    found = pull()
    assert (found.segment, found.number) == (2, 1)
    assert tree(home.checkpoint) == {"weights": b"second"}


def test_of_a_machine_whose_manifests_are_all_broken_the_one_before_counts(
    machine: Any, successor: Any, home: Any, pull: Any, aws: Any, uri: str
) -> None:
    machine.save("weights", b"first")
    machine.ship()
    successor.save("weights", b"second")
    successor.ship()
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    first, second = (f"{prefix}/{RUN}/{key}" for key in sorted(keys(aws, uri, "generations/")))
    aws.s3.put_object(Bucket=bucket, Key=second, Body=b"{")
    assert pull().segment == 1
    assert tree(home.checkpoint) == {"weights": b"first"}
    aws.s3.put_object(Bucket=bucket, Key=first, Body=b"{")
    with pytest.raises(TransferError, match="a manifest"):
        pull()


# What must not be taken for a checkpoint.


def test_a_checkpoint_that_is_written_to_meanwhile_is_not_one(
    machine: Any, aws: Any, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.save("weights", b"whole" * 100)
    send = Store.put

    def meddle(self: Store, key: str, *rest: Any) -> None:
        if key.startswith("objects/"):
            with (machine.checkpoint / "weights").open("ab") as file:
                file.write(b"more")
        send(self, key, *rest)

    monkeypatch.setattr(Store, "put", meddle)
    with pytest.raises(Changing):
        machine.ship()
    assert durable.newest(aws, uri, RUN) is None


def test_a_folder_that_takes_long_to_look_at_is_looked_at_seldom(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.save("weights", b"1")
    machine.ship()
    clock, waited = [0.0], []

    def look(root: str, skipped: list[list[str]]) -> list[Any]:
        clock[0] += 3.0
        return snapshot.look(root, skipped)

    def wait(shipper: Any, pause_s: float, grant: Any) -> None:
        waited.append(pause_s)
        machine.state("done", exit_status=0)

    monkeypatch.setattr(ship, "look", look)
    monkeypatch.setattr(ship.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(ship.Shipper, "wait", wait)
    machine.shipper.work()
    assert waited == [60.0]


def test_what_may_not_be_read_is_left_out_and_told(
    machine: Any, home: Any, pull: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbidden = str(machine.checkpoint / "root's")

    def open_file(path: str) -> int:
        if path == forbidden:
            raise PermissionError(13, "Permission denied", path)
        return files.open_file(path)

    monkeypatch.setattr(snapshot, "open_file", open_file)
    machine.save("root's", b"1")
    machine.save("weights", b"2")
    machine.ship()
    machine.shipper.ship_and_tell({"state": "running", "exit_status": None}, False)
    assert not machine.shipper.changed()
    said = shipped(str(machine.run))
    assert said["error"] == "root's cannot be read: Permission denied"
    assert failing(said) == "unreadable"
    pull()
    assert tree(home.checkpoint) == {"weights": b"2"}
    machine.save("weights", b"3")
    assert machine.shipper.changed()


def test_one_that_is_renamed_over_meanwhile_goes_as_it_was(
    machine: Any, home: Any, pull: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.save("weights", b"first")
    send = Store.put

    def meddle(self: Store, key: str, *rest: Any) -> None:
        machine.save("weights", b"second")
        send(self, key, *rest)

    monkeypatch.setattr(Store, "put", meddle)
    machine.ship()
    pull()
    assert tree(home.checkpoint) == {"weights": b"first"}


def test_the_newest_generation_is_whole_whenever_the_shipper_is_killed(
    machine: Any, home: Any, aws: Any, uri: str
) -> None:
    over = threading.Event()
    dice = random.Random(7)

    def train() -> None:
        number = 0
        while not over.is_set():
            number += 1
            body = b"%08d" % number + random.Random(number).randbytes(400_000)
            machine.save("weights", sha256(body).digest() + body)
            with machine.log.open("ab") as log:
                log.write(b"%08d\n" % number)
            time.sleep(0.03)

    trainer = threading.Thread(target=train)
    trainer.start()
    newest = 0
    try:
        for round_number in range(14):
            shipper = machine.start(
                ship__LOOK_EVERY_S=0.01, ship__CHUNK_BYTES=50_000, objects__HELD_S=0.0, objects__SAVE_EVERY_S=0.0
            )
            time.sleep(dice.uniform(0.2, 0.9))
            shipper.send_signal(signal.SIGKILL)
            shipper.communicate()
            found = durable.newest(aws, uri, RUN)
            if found is None:
                continue
            durable.pull_into(aws, uri, found, checkpoint=home.checkpoint, log=home.folder / str(round_number))
            content = (home.checkpoint / "weights").read_bytes()
            assert sha256(content[32:]).digest() == content[:32]
            assert int(content[32:40]) >= newest
            newest = int(content[32:40])
            lines = (home.folder / str(round_number)).read_bytes()
            assert lines == machine.log.read_bytes()[: len(lines)]
    finally:
        over.set()
        trainer.join()
    assert newest > 10


# The log.


def test_a_log_is_sent_once_but_for_its_end(machine: Any, cloud: Any, home: Any, pull: Any) -> None:
    machine.log.write_bytes(os.urandom(3 * shiplog.STRETCH_BYTES + 10))
    machine.ship()
    cloud.clear_journal()
    with machine.log.open("ab") as log:
        log.write(b"more")
    machine.ship()
    assert posts(cloud) == 2
    pull()
    assert home.log.read_bytes() == machine.log.read_bytes()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=12), st.integers(1, 12))
def test_a_log_that_grows_and_is_emptied_has_no_line_twice(steps: list[tuple[bool, int]], stretch: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(shiplog, "STRETCH_BYTES", stretch)
        path, base = f"{folder}/log", f"{folder}/log.base"
        Path(path).touch()
        sent, there, whole, written = NOTHING, {}, b"", 0
        for emptied, count in steps:
            if emptied and Path(path).stat().st_size > 0:
                Path(path).write_bytes(b"")
                with shiplog.open_log(path, base, sent) as log:  # while it is empty, so that it can be told
                    sent = log.sent()
            new = bytes((written + step) % 256 for step in range(count))
            written += count
            with Path(path).open("ab") as file:
                file.write(new)
            whole += new
            with shiplog.open_log(path, base, sent) as log:
                for chunk in log.new:
                    there[chunk.sha256] = os.pread(chunk.file, chunk.size, chunk.offset)
                read = b"".join(there[digest] for _, _, digest in log.lines)
                sent = json.loads(json.dumps(log.sent()))
            assert read == whole


# What goes wrong.


def test_a_busy_store_is_asked_again(machine: Any, cloud: Any, aws: Any, uri: str) -> None:
    machine.save("weights", b"1")
    cloud.fault({"match": {"action": "PostObject"}, "effect": {"error": "SlowDown", "status": 503}, "times": 2})
    cloud.fault({"match": {"action": "PostObject"}, "effect": {"drop": "after"}, "times": 1, "skip": 1})
    machine.ship()
    assert durable.newest(aws, uri, RUN).number == 1


def test_one_that_stays_busy_is_told(machine: Any, cloud: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("launcher.agent.post.BACKOFF_S", 0.001)
    cloud.fault({"match": {"action": "PostObject"}, "effect": {"error": "SlowDown", "status": 503}, "times": -1})
    with pytest.raises(Unreachable, match="SlowDown"):
        machine.ship()


@pytest.mark.parametrize("code", ["AccessDenied", "ExpiredToken"])
def test_a_refusal_is_not_asked_again(machine: Any, cloud: Any, code: str) -> None:
    cloud.fault({"match": {"action": "PostObject"}, "effect": {"error": code, "status": 403}, "times": -1})
    cloud.clear_journal()
    with pytest.raises(Refused, match=code):
        machine.ship()
    assert posts(cloud) == 1


def test_an_expired_grant_is_told_and_the_next_one_taken_at_once(machine: Any, aws: Any, uri: str) -> None:
    machine.permit(timedelta(seconds=3))
    machine.save("weights", b"1")
    machine.start()
    wait_for(lambda: durable.newest(aws, uri, RUN))
    time.sleep(3)  # what is awaited is the clock
    machine.save("weights", b"2")
    wait_for(lambda: shipped(str(machine.run))["error_kind"])
    told = shipped(str(machine.run))
    assert (told["error_kind"], told["generation"], told["final"]) == ("refused", 1, False)
    assert "expired" in told["error"]
    machine.permit()
    wait_for(lambda: shipped(str(machine.run))["generation"] == 2)
    assert shipped(str(machine.run))["error_kind"] == ""


def test_the_grant_lets_nobody_write_elsewhere(machine: Any) -> None:
    form = json.loads((machine.run / "grant").read_text())
    store = Store({**form, "prefix": form["prefix"].replace(RUN, "other-run")})
    with pytest.raises(Refused, match=r"starts-with.*key"):
        store.put("objects/x", lambda: iter([b"x"]), 1, sha256(b"x").hexdigest())


def test_a_full_disk_does_not_keep_results_from_going(
    machine: Any, home: Any, pull: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str, text: str) -> None:
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(objects, "write_atomically", full)
    (machine.output / "model").write_bytes(b"weights")
    machine.ship(over=True)
    pull()
    assert tree(home.output) == {"model": b"weights"}


def test_on_a_full_disk_no_name_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "HELD_S", 0.0)
    record = objects.Objects(str(tmp_path / "ship.state"))
    names = set()
    for number in range(3):
        (name,) = record.claim(1, 1)
        names.add(name)
        record.sent(f"{number}", name)
        record.begin()
        record.commit({f"{number}"}, None)
    record.begin()
    free = [name for _, _, name in record.retired]
    assert free

    def full(path: str, text: str) -> None:
        raise OSError(28, "No space left on device", path)

    with monkeypatch.context() as disk:
        disk.setattr(objects, "write_atomically", full)
        (name,) = record.claim(1, 1)
        assert name not in names
        assert [each for _, _, each in record.retired] == free
    record.begin()
    assert record.claim(1, 1) == free[:1]


# A process of its own.


def test_a_checkpoint_goes_as_it_is_made_and_the_end_at_once(machine: Any, aws: Any, uri: str) -> None:
    machine.save("weights", b"1")
    shipper = machine.start()
    wait_for(lambda: (shipped(str(machine.run)) or {}).get("generation") == 1)
    machine.save("weights", b"2")
    wait_for(lambda: shipped(str(machine.run))["generation"] == 2, timeout_s=5)
    (machine.output / "model").write_bytes(b"weights")
    machine.state("done", exit_status=0)
    began = time.monotonic()
    shipper.stdin.close()
    assert shipper.wait(10) == 0
    assert time.monotonic() - began < 3
    assert shipped(str(machine.run))["final"]
    assert durable.newest(aws, uri, RUN).complete


def test_only_one_ships(machine: Any) -> None:
    machine.start()
    wait_for(lambda: (shipped(str(machine.run)) or {}).get("generation") == 1)
    assert machine.start().wait(10) == 0


# Home.


def test_a_broken_off_download_goes_on(
    machine: Any, home: Any, pull: Any, cloud: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ship, "CHUNK_BYTES", 10_000)
    monkeypatch.setattr("launcher.aws.durable.contents.ATTEMPTS", 1)
    machine.save("big", os.urandom(100_000))
    machine.ship()
    cloud.fault({"match": {"action": "GET .*objects.*"}, "effect": {"error": "AccessDenied"}, "skip": 4, "times": -1})
    with pytest.raises(Exception, match="AccessDenied"):
        pull()
    assert not (home.checkpoint / "big").exists()
    cloud.clear_faults()
    cloud.clear_journal()
    pull()
    assert sum("/objects/" in call["action"] for call in cloud.journal()) == 6
    assert tree(home.checkpoint) == tree(machine.checkpoint)
    assert {path.name for path in home.folder.iterdir()} == {"checkpoint", "output", "log"}


def test_what_is_home_is_not_fetched_and_what_is_gone_there_goes(
    machine: Any, home: Any, pull: Any, cloud: Any
) -> None:
    machine.save("a", b"a")
    machine.save("b", b"b")
    (machine.output / "kept").write_bytes(b"1")
    machine.ship()
    pull()
    (home.output / "mine").write_bytes(b"of the user's")
    (machine.checkpoint / "a").unlink()
    machine.save("c", b"c")
    machine.ship()
    cloud.clear_journal()
    pull()
    assert tree(home.checkpoint) == {"b": b"b", "c": b"c"}
    assert tree(home.output) == {"kept": b"1", "mine": b"of the user's"}
    assert sum("/objects/" in call["action"] for call in cloud.journal()) == 1


def test_what_is_the_user_s_is_refused_and_stays(machine: Any, home: Any, pull: Any, tmp_path: Path) -> None:
    (machine.output / "plots").mkdir()
    (machine.output / "plots" / "loss").write_bytes(b"1")
    (machine.output / "model").write_bytes(b"2")
    machine.ship()
    (home.output / "model").mkdir(parents=True)
    (home.output / "model" / "mine").write_bytes(b"of the user's")
    with pytest.raises(TransferError, match="not empty"):
        pull()
    assert tree(home.output) == {"model/mine": b"of the user's"}
    (home.output / "model" / "mine").unlink()
    (tmp_path / "theirs").mkdir()
    (home.output / "plots").symlink_to(tmp_path / "theirs")
    with pytest.raises(TransferError, match="is a link"):
        pull()
    assert list((tmp_path / "theirs").iterdir()) == []
    (home.output / "plots").unlink()
    pull()
    assert tree(home.output) == {"model": b"2", "plots/loss": b"1"}


def test_what_is_ours_gives_way_to_what_the_machine_has_now(machine: Any, home: Any, pull: Any) -> None:
    (machine.checkpoint / "step").mkdir()
    (machine.checkpoint / "step" / "w").write_bytes(b"1")
    (machine.output / "was a link").symlink_to("a")
    machine.save("flat", b"2")
    machine.ship()
    pull()
    (machine.output / "was a link").unlink()
    (machine.output / "was a link").mkdir()
    (machine.output / "was a link" / "x").write_bytes(b"3")
    (machine.checkpoint / "step" / "w").unlink()
    (machine.checkpoint / "step").rmdir()
    machine.save("step", b"4")
    (machine.checkpoint / "flat").unlink()
    (machine.checkpoint / "flat").mkdir()
    machine.ship()
    pull()
    assert tree(home.checkpoint) == {"step": b"4"}
    assert (home.checkpoint / "flat").is_dir()
    assert tree(home.output) == {"was a link/x": b"3"}


def test_a_content_that_was_changed_there_is_not_taken(machine: Any, home: Any, pull: Any, aws: Any, uri: str) -> None:
    machine.save("weights", b"good")
    machine.ship()
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    (key,) = keys(aws, uri, "objects/")
    aws.s3.put_object(Bucket=bucket, Key=f"{prefix}/{RUN}/{key}", Body=b"evil")
    with pytest.raises(TransferError, match="not what the machine has sent"):
        pull()
    assert not (home.checkpoint / "weights").exists()


def test_an_older_whole_generation_is_better_than_a_broken_one(
    machine: Any, home: Any, pull: Any, aws: Any, uri: str
) -> None:
    machine.save("weights", b"old")
    machine.ship()
    machine.save("weights", b"new")
    machine.ship()
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    newest = durable.newest(aws, uri, RUN).checkpoint[0].chunks[0].key
    aws.s3.delete_object(Bucket=bucket, Key=f"{prefix}/{RUN}/{newest}")
    assert pull().number == 1
    assert tree(home.checkpoint) == {"weights": b"old"}


def test_a_log_that_came_farther_over_the_line_stays(machine: Any, home: Any, pull: Any) -> None:
    machine.log.write_bytes(b"one\n")
    machine.ship()
    home.folder.mkdir()
    home.log.write_bytes(b"one\ntwo\n")
    pull()
    assert home.log.read_bytes() == b"one\ntwo\n"


def test_tidying_leaves_what_the_newest_generation_needs(
    machine: Any, successor: Any, home: Any, pull: Any, aws: Any, uri: str
) -> None:
    for each in (machine, successor):
        for number in range(3):
            each.save("weights", os.urandom(100))
            (each.output / "model").write_bytes(b"%d" % number)
            each.ship(over=number == 2)
    assert durable.tidy(aws, uri, RUN) > 5
    assert len(keys(aws, uri, "generations/")) == 1, "no manifest names what is not there any more"
    pull()
    assert tree(home.checkpoint) == tree(successor.checkpoint)
    assert tree(home.output) == {"model": b"2"}
    assert len(keys(aws, uri, "objects/")) == 1
    assert durable.tidy(aws, uri, RUN) == 0
