"""Whether the promises were kept, by somebody who uses none of gpurun's code: plain boto3, SQLite and files."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.faults.chained import content, link

KEY = "observer"
"""Access key and secret: the sandbox's journal tells by it who has called."""
BILLED = frozenset({"instance", "volume", "address"})
KNOWN = re.compile(
    r"weights\.(bin|draft)|gpurun|gpurun/log\.txt|gpurun/receipt\.json|gpurun/checkpoint(/state\.(bin|draft))?"
)
Thing = tuple[str, str]
"""What it is, and its id or name."""
LOOKS: tuple[tuple[str, str, dict[str, Any], str, str], ...] = (
    ("volume", "describe_volumes", {}, "Volumes", "VolumeId"),
    ("address", "describe_addresses", {}, "Addresses", "AllocationId"),
    ("key pair", "describe_key_pairs", {}, "KeyPairs", "KeyName"),
    ("security group", "describe_security_groups", {}, "SecurityGroups", "GroupId"),
    ("rule", "describe_security_group_rules", {}, "SecurityGroupRules", "SecurityGroupRuleId"),
    ("template", "describe_launch_templates", {}, "LaunchTemplates", "LaunchTemplateName"),
    ("image", "describe_images", {"Owners": ["self"]}, "Images", "ImageId"),
    ("snapshot", "describe_snapshots", {"OwnerIds": ["self"]}, "Snapshots", "SnapshotId"),
)
"""What beside machines and schedules can be left: the call, whose it asks for, and where the answer has it."""
LINE = re.compile(rb"step ([0-9]+) ([0-9a-f]{16})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event of the ledger."""

    number: int
    run_id: str
    kind: str
    data: dict[str, Any]


class Book:
    """A laptop's ledger, read beside whoever writes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = 0

    def new_events(self) -> list[Told]:
        """Those that were written since the last time."""
        rows = self._rows("SELECT event_id, run_id, kind, data FROM events WHERE event_id > ? ORDER BY 1", self._last)
        found = [Told(number=n, run_id=run, kind=kind, data=json.loads(data)) for n, run, kind, data in rows]
        self._last = max([self._last, *(each.number for each in found)])
        return found

    def run(self) -> dict[str, Any]:
        """The one run's row; nothing where there is none."""
        names = ("run_id", "status", "reason", "exit_status", "deadline_at", "region", "results_dir", "receipt")
        rows = self._rows(f"SELECT {', '.join(names)} FROM runs ORDER BY created_at DESC LIMIT 1")
        return dict(zip(names, rows[0], strict=True)) if rows else {}

    def segments(self) -> int:
        """How many machines the run has had."""
        return int(self._rows("SELECT count(*) FROM segments")[0][0]) if self._path.exists() else 0

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        if not self._path.exists():
            return []
        try:
            with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=5)) as book:
                return book.execute(query, values).fetchall()
        except sqlite3.OperationalError:  # not made yet, or the disk under it is full
            return []


class Cloud:
    """The cloud as EC2's and Scheduler's own APIs tell it."""

    def __init__(self, endpoint_url: str) -> None:
        self._endpoint_url = endpoint_url
        self._session = boto3.Session(aws_access_key_id=KEY, aws_secret_access_key=KEY)
        self._making = threading.Lock()

    def at(self, endpoint_url: str) -> Cloud:
        """Another cloud, looked at with the same session.

        Each session reads EC2's model anew, during which no other thread of the process sees anything: for seconds
        where the machine is busy.
        """
        other = Cloud(endpoint_url)
        other._session, other._making = self._session, self._making
        return other

    def everything(self, region: str) -> frozenset[Thing]:
        """All that the account has in a region, whatever it is tagged with, but for machines that have ended."""
        ec2 = self.client("ec2", region)
        found = [
            ("instance", each["InstanceId"])
            for page in ec2.get_paginator("describe_instances").paginate()
            for reservation in page["Reservations"]
            for each in reservation["Instances"]
            if each["State"]["Name"] != "terminated"
        ]
        for kind, call, mine, rows, name in LOOKS:
            pages = ec2.get_paginator(call).paginate(**mine) if ec2.can_paginate(call) else [getattr(ec2, call)(**mine)]
            found.extend((kind, each[name]) for page in pages for each in page[rows])
        pages = self.client("scheduler", region).get_paginator("list_schedules").paginate()
        found.extend(("schedule", each["Name"]) for page in pages for each in page["Schedules"])
        return frozenset(found)

    def leftovers(self, region: str, before: frozenset[Thing]) -> list[Thing]:
        """What is in a region now and was not there before."""
        return sorted(self.everything(region) - before)

    def end(self, region: str, before: frozenset[Thing]) -> None:
        """End every machine that was not there before."""
        ids = [what for kind, what in self.leftovers(region, before) if kind == "instance"]
        if ids:
            self.client("ec2", region).terminate_instances(InstanceIds=ids)

    def regions(self) -> list[str]:
        """Those that the account may use."""
        answer = self.client("ec2", "us-east-1").describe_regions()
        return sorted(each["RegionName"] for each in answer["Regions"])

    def client(self, service: str, region: str) -> Any:
        """A plain client of one of its services."""
        config = Config(retries={"total_max_attempts": 8})
        with self._making:
            return self._session.client(service, region_name=region, endpoint_url=self._endpoint_url, config=config)


@dataclass(slots=True, kw_only=True)
class Weights:
    """What the files of a folder are worth."""

    steps: dict[str, int] = field(default_factory=dict)
    """Of each whole file."""
    broken: list[str] = field(default_factory=list)

    @property
    def furthest(self) -> int:
        """The latest step that any file is of."""
        return max(self.steps.values(), default=0)


def chains(steps: int) -> list[str]:
    """The chain after each step."""
    found = [""]
    for step in range(1, steps + 1):
        found.append(link(found[-1], step))
    return found


def step_of(path: Path, right: list[str]) -> int | None:
    """The step that a file of the job is of; `None` for one that is not whole."""
    return step_in(path.read_bytes(), right)


def step_in(data: bytes, right: list[str]) -> int | None:
    """The same of a file's content."""
    with suppress(ValueError, KeyError, IndexError, TypeError):
        told = json.loads(data.partition(b"\n")[0])
        step = told["step"]
        if data == content(step, right[step], told["size_bytes"]):
            return int(step)
    return None


def weights_in(folder: Path, right: list[str]) -> Weights:
    """Every weight file below a folder, each judged."""
    found = Weights()
    for path in sorted(folder.rglob("*.bin")):
        step = step_of(path, right)
        if step is None:
            found.broken.append(str(path.relative_to(folder)))
        else:
            found.steps[str(path.relative_to(folder))] = step
    return found


def strays(folder: Path) -> list[str]:
    """Files in a results folder that are neither the job's nor gpurun's: halves, partials, drafts of a download."""
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*"))]
    return [name for name in names if not KNOWN.fullmatch(name)]


def judge_log(log: bytes, right: list[str]) -> tuple[list[int], list[str]]:
    """The steps of a log in order, and what is wrong with it: a line that is not whole, a step left out."""
    steps: list[int] = []
    wrong: list[str] = []
    for number, line in enumerate(log.split(b"\n")[:-1], 1):
        match = LINE.fullmatch(line)
        if match is None:
            if not line.startswith(b"cannot save"):
                wrong.append(f"line {number} of the log is {line[:60]!r}")
            continue
        step = int(match[1])
        if step >= len(right) or right[step][:16].encode() != match[2]:
            wrong.append(f"line {number} of the log has another chain than step {step}")
        if step > (steps[-1] if steps else 0) + 1:
            wrong.append(f"the log goes from step {steps[-1] if steps else 0} to step {step}")
        steps.append(step)
    if log and not log.endswith(b"\n"):
        wrong.append(f"the log ends in {log[-60:]!r}")
    return steps, wrong


def processes_with(word: str) -> Iterator[str]:
    """Processes that have a word in their environment or command line."""
    wanted = os.fsencode(word)
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            command = (folder / "cmdline").read_bytes()
            if command and (wanted in command or wanted in (folder / "environ").read_bytes()):
                yield f"{folder.name} {command.replace(bytes(1), b' ').decode(errors='replace')[:100]}"
