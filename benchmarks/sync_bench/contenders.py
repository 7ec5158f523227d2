"""Who carries: the tools one would type by hand, and gpurun, each as one thing that can be asked to do a job."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any, Protocol

from sync_bench.hosts import Host
from sync_bench.processes import DIES_WITH_US, Failed, cut_off, end_group, timed, tree

OURS = Path(__file__).with_name("ours.py")
INSIDE, WHOLE = "gpurun, in process", "gpurun, whole command"
GCM = "aes128-gcm@openssh.com"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to carry where; both are folders, on the side that the direction says."""

    source: Path
    dest: Path
    memo: Path
    """Where a contender may remember things on the near side."""
    down: bool = False
    command: bool = False
    """Nothing is carried: run `true` there."""
    limit_s: float = 900.0

    @property
    def file(self) -> str:
        """The source's only file; empty where it is a tree."""
        found = [path for path in self.source.iterdir() if not path.is_dir()]
        return found[0].name if found else ""


@dataclass(frozen=True, slots=True)
class Took:
    """What a job took, as far as its contender can tell."""

    wall_s: float
    near_cpu_s: float


class Contender(Protocol):
    """One that can be measured."""

    @property
    def name(self) -> str:
        """As the tables call it."""

    def carry(self, job: Job) -> Took:
        """Do the job; raises `Failed`."""

    def cut(self, job: Job) -> None:
        """Do half of it and be killed; raises `Failed`."""


Words = Callable[["Tool", Job], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A command line, run by sh on the near side."""

    name: str
    words: Words
    host: Host
    first_words: Words | None = None
    """Where the command that goes on after a cut is not the one that was cut."""
    master: bool = False
    gcm: bool = False

    @property
    def ssh(self) -> str:
        """The ssh command that it goes over."""
        return f"ssh {self.options}"

    @property
    def options(self) -> str:
        """For ssh, scp and sftp alike."""
        words = f"-F {self.host.ssh_config}"
        if self.master:
            words += f" -o ControlPath={self.host.control_path}"
        return words + (f" -c {GCM}" if self.gcm else "")

    def carry(self, job: Job) -> Took:
        master = self.host.master_pid if self.master else None
        before = tree(master)
        ran = timed(self._command(job, self.words), environment(self.host), limit_s=job.limit_s)
        return Took(ran.wall_s, ran.cpu_s + tree(master).cpu_s - before.cpu_s)

    def cut(self, job: Job) -> None:
        half = (job.source / job.file).stat().st_size / 2
        cut_off(
            self._command(job, self.first_words or self.words),
            environment(self.host),
            lambda: any(path.stat().st_size >= half for path in job.dest.iterdir()),
            limit_s=job.limit_s,
        )

    def _command(self, job: Job, words: Words) -> list[str]:
        return [*self.host.ends.into_near, "sh", "-c", words(self, job)]


def rsync(options: str) -> Words:
    """Rsync of a folder's content."""

    def words(tool: Tool, job: Job) -> str:
        source, dest = (f"{path}/" for path in (job.source, job.dest))
        pair = f"far:{quote(source)} {quote(dest)}" if job.down else f"{quote(source)} far:{quote(dest)}"
        return f"rsync {options} -e {quote(tool.ssh)} {pair}"

    return words


def scp(tool: Tool, job: Job) -> str:
    """The file, or everything that the folder holds."""
    what = f"{job.source}/{job.file or '*'}"
    pair = f"far:{what} {job.dest}/" if job.down else f"{what} far:{job.dest}/"
    return f"scp -q -r {tool.options} {pair}"


def sftp(options: str) -> Words:
    """The same through a batch of one command."""

    def words(tool: Tool, job: Job) -> str:
        verb = "get" if job.down else "put"
        what = f"{job.source}/{job.file or '*'}"
        return f"echo {quote(f'{verb} {options} {what} {job.dest}/')} | sftp -q {tool.options} -b - far"

    return words


def tar(tool: Tool, job: Job) -> str:
    """A stream of everything, compressed."""
    pack = f"tar -C {job.source} -cf - . | zstd -q -3 -T0"
    unpack = f"zstd -q -d | tar -xf - -C {job.dest}"
    if job.down:
        return f"{tool.ssh} far {quote(pack)} | {unpack}"
    return f"{pack} | {tool.ssh} far {quote(unpack)}"


def true(tool: Tool, job: Job) -> str:
    """Nothing but a connection and a command."""
    del job
    return f"{tool.ssh} far true"


def tools(host: Host) -> dict[str, Tool]:
    """All that can be typed, by name."""
    zstd = "--compress-choice=zstd"
    return {
        tool.name: tool
        for tool in (
            Tool(name="rsync -a", words=rsync("-a"), host=host),
            Tool(name="rsync -a, master", words=rsync("-a"), host=host, master=True),
            Tool(name="rsync -az", words=rsync(f"-az {zstd}"), host=host),
            Tool(name="rsync -az, master", words=rsync(f"-az {zstd}"), host=host, master=True),
            Tool(name="rsync -a --partial", words=rsync("-a --partial"), host=host),
            Tool(name="scp", words=scp, host=host),
            Tool(name="sftp", words=sftp("-r"), host=host),
            Tool(name="sftp -a", words=sftp("-a"), first_words=sftp(""), host=host),
            Tool(name="tar zstd ssh", words=tar, host=host),
            Tool(name="ssh true", words=true, host=host),
            Tool(name="rsync -a, GCM", words=rsync("-a"), host=host, gcm=True),
            Tool(name="scp, GCM", words=scp, host=host, gcm=True),
            Tool(name="tar zstd ssh, GCM", words=tar, host=host, gcm=True),
        )
    }


def environment(host: Host) -> dict[str, str]:
    """For near-side processes: a home and a state folder of their own."""
    near = str(host.folder / "near")
    return os.environ | {"HOME": near, "XDG_STATE_HOME": near, "LC_ALL": "C.UTF-8"}


def _operation(job: Job, **more: object) -> dict[str, object]:
    if job.command:
        return {"op": "command"}
    told = {"source": str(job.source), "dest": str(job.dest), "memo": str(job.memo)}
    return {"op": "pull" if job.down else "push", **told, **more}


def _ours(host: Host, *words: str) -> list[str]:
    verb, *rest = words
    return [*host.ends.into_near, sys.executable, str(OURS), verb, json.dumps(host.endpoint()), *rest]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """gpurun as a command: Python's start, the connection and the transfer."""

    host: Host
    name: str = WHOLE

    def carry(self, job: Job) -> Took:
        command = _ours(self.host, "once", json.dumps(_operation(job)))
        ran = timed(command, environment(self.host), limit_s=job.limit_s)
        return Took(ran.wall_s, ran.cpu_s)

    def cut(self, job: Job) -> None:
        command = _ours(self.host, "once", json.dumps(_operation(job, dies_at=0.5)))
        try:
            timed(command, environment(self.host), limit_s=job.limit_s)
        except Failed as failure:
            if not str(failure).startswith("status -9"):
                raise
        else:
            raise Failed("ended before it could be cut off")


class Inside:
    """gpurun in a process that runs, with the connections that it keeps."""

    name = INSIDE

    def __init__(self, host: Host, driver: subprocess.Popen) -> None:
        self._host = host
        self._driver = driver

    def carry(self, job: Job) -> Took:
        before = tree(self._driver.pid)
        answer = self._ask(_operation(job))
        return Took(answer["wall_s"], tree(self._driver.pid).cpu_s - before.cpu_s)

    def cut(self, job: Job) -> None:
        Whole(host=self._host).cut(job)

    def _ask(self, operation: dict[str, object]) -> dict[str, Any]:
        into, out = self._driver.stdin, self._driver.stdout
        if into is None or out is None:
            raise RuntimeError
        try:
            into.write(json.dumps(operation) + "\n")
            into.flush()
            answer = json.loads(out.readline() or '{"error": "the process is gone"}')
        except BrokenPipeError:
            raise Failed("the process is gone") from None
        if "error" in answer:
            raise Failed(answer["error"])
        return answer


@contextmanager
def inside(host: Host, folder: Path) -> Iterator[Inside]:
    """Start such a process, and have it carry a file so that everything that is kept is there."""
    warm = folder / "warm"
    (warm / "source").mkdir(parents=True, exist_ok=True)
    (warm / "source" / "file").write_text("warm\n")
    with subprocess.Popen(
        [*DIES_WITH_US, *_ours(host, "serve")],
        env=environment(host),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as driver:
        try:
            ours = Inside(host, driver)
            ours.carry(Job(source=warm / "source", dest=warm / "dest", memo=warm / "memo"))
            yield ours
        finally:
            end_group(driver)
