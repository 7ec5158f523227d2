"""TensorBoard's events: what is written is what TensorFlow reads."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

import pytest

from jobs.outputs import MetricsLog
from jobs.tensorboard import crc32c, record

PROGRAM = Path(__file__).with_name("events.py")


def test_checksums_are_those_of_the_standard():
    assert crc32c(b"") == 0
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    assert crc32c(b"\xff" * 32) == 0x62A8AB43


def test_record_has_its_length_before_it():
    data = b"x" * 300
    assert struct.unpack("<Q", record(data)[:8]) == (300,)
    assert record(data)[12:-4] == data


def test_what_is_logged_is_what_tensorflow_reads(jobs):
    before = time.time()
    log = MetricsLog.open(jobs.folder, from_step=0, tensorboard=True)
    log.write(step=0, epoch=0, cost=2.5, error=0.9)
    log.write(step=3_000_000, epoch=1, **{"hidden/weights_to_updates": 1e3, "rbm-1/cost": float("nan")})
    log.close()
    log = MetricsLog.open(jobs.folder, from_step=7, tensorboard=True)
    log.write(step=7, epoch=0, cost=1.25)
    log.close()
    MetricsLog.open(jobs.folder, from_step=9).close()
    files = sorted(jobs.folder.glob("events.out.tfevents.*"))
    assert len(files) == 2
    done = jobs.run(*files, program=(str(PROGRAM),))
    assert done.returncode == 0, done.stderr
    events = [
        json.loads(line.removeprefix("event: ")) for line in done.stdout.splitlines() if line.startswith("event:")
    ]
    first, again = ([event for event in events if event["path"] == str(path)] for path in files)
    assert first[0]["file_version"] == again[0]["file_version"] == "brain.Event:2"
    assert [(event["step"], event["name"], event["value"]) for event in first[1:4]] == [
        (0, "cost", 2.5),
        (0, "error", pytest.approx(0.9)),
        (3_000_000, "hidden/weights_to_updates", 1000.0),
    ]
    assert (first[4]["name"], first[4]["value"] == first[4]["value"]) == ("rbm-1/cost", False)
    assert (again[1]["step"], again[1]["status"]) == (7, 1)  # later steps of the first file are void
    assert [(event["step"], event["value"]) for event in again[2:]] == [(7, 1.25)]
    assert all(before - 1 <= event["seconds"] <= time.time() for event in events)
    lines = (jobs.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["cost", "error", "cost"]
