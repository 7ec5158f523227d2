"""One row on one line: every contender in turn, in another order each round, its result checked and written down."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sync_bench.contenders import Contender, Job, Took, Whole, inside, tools
from sync_bench.data import Data
from sync_bench.hosts import Host
from sync_bench.processes import Failed, settled, tree
from sync_bench.results import Measured, Store
from sync_bench.rows import Row

SETTLE_S = 3.0


class Bench:
    """Everything that a row needs, on one line."""

    def __init__(self, host: Host, data: Data, folder: Path, store: Store) -> None:
        self.host = host
        self.data = data
        self.folder = folder
        self.store = store
        self.link = host.ends.link.name

    @contextmanager
    def contenders(self, row: Row, only: str) -> Iterator[list[Contender]]:
        """Who takes part; gpurun's own process lives as long as the row."""
        known = tools(self.host)
        peers = [known[name] for name in row.peers_on(self.link) if only in ("all", "peers")]
        if only == "peers":
            yield list(peers)
            return
        (self.host.folder / "near").mkdir(exist_ok=True)
        with ExitStack() as stack:
            ours: list[Contender] = [Whole(host=self.host)]
            try:
                ours.append(stack.enter_context(inside(self.host, self.folder / row.name)))
            except Failed as failure:
                print(f"  gpurun's own process does not start: {failure}", file=sys.stderr)
            yield [*peers, *ours]

    def measure(self, row: Row, repeats: int, only: str) -> None:
        """As many rounds as are not written down yet."""
        print(f"{self.link} {row.name}", file=sys.stderr)
        kept = Kept(self, row)
        try:
            with self.contenders(row, only) as everyone:
                for number in range(repeats):
                    missing = [each for each in everyone if not self.store.has(row.name, self.link, each.name, number)]
                    random.Random(f"{row.name} {number}").shuffle(missing)
                    if missing and row.kind == "kept":
                        kept.step(missing)
                    for contender in missing:
                        self._one(row, contender, number, kept)
        finally:
            shutil.rmtree(self.folder / row.name, ignore_errors=True)

    def _one(self, row: Row, contender: Contender, number: int, kept: Kept) -> None:
        error, took, lost = "", Took(0.0, 0.0), (0.0, 0, 0)
        job = kept.job(contender) if row.kind == "kept" else self._fresh(row, contender, number)
        try:
            if row.kind == "resume":
                contender.cut(job)
                settled(self.host.server_pid, self._resting(), 20 * SETTLE_S)
            before_count, before = tree(self.host.server_pid), self.host.ends.near_bytes()
            took = contender.carry(job)
            sent, received = (now - then for now, then in zip(self.host.ends.near_bytes(), before, strict=True))
            settled(self.host.server_pid, before_count.count, SETTLE_S)
            lost = (tree(self.host.server_pid).cpu_s - before_count.cpu_s, sent, received)
            if row.kind != "command" and not same(job.source, job.dest):
                error = "the content differs"
        except Failed as failure:
            error = str(failure)
        if error and row.kind == "kept":
            kept.spoil(contender)
        self.store.add(
            Measured(
                row=row.name,
                link=self.link,
                contender=contender.name,
                round=number,
                wall_s=round(took.wall_s, 4),
                near_cpu_s=round(took.near_cpu_s, 3),
                far_cpu_s=round(lost[0], 3),
                sent_bytes=lost[1],
                received_bytes=lost[2],
                size_bytes=sum(path.stat().st_size for path in job.source.rglob("*") if path.is_file()),
                error=error,
            )
        )
        print(f"  {number} {contender.name:24} {took.wall_s:8.3f} s {error}", file=sys.stderr, flush=True)
        if row.kind != "kept":
            shutil.rmtree(job.dest.parent)

    def _resting(self) -> int:
        """Processes of the far side while nothing is carried: the listener, the master's session and our own."""
        return self._at_rest

    def _fresh(self, row: Row, contender: Contender, number: int) -> Job:
        """A folder that nobody has seen, and a far side that remembers nothing."""
        self.host.forget()
        self._at_rest = tree(self.host.server_pid).count
        place = self.folder / row.name / f"{slug(contender)}-{number}"
        for name in ("dest", "memo", "none"):
            (place / name).mkdir(parents=True)
        if row.kind == "command":
            return Job(source=place / "none", dest=place / "dest", memo=place / "memo", command=True)
        source: Path = getattr(self.data, row.source)
        return Job(source=source, dest=place / "dest", memo=place / "memo", down=row.down)


class Kept:
    """A source that changes from round to round, and every contender's copy of its last state."""

    def __init__(self, bench: Bench, row: Row) -> None:
        self._bench = bench
        self._row = row
        self._ready: set[str] = set()
        self._chance = random.Random(f"{row.name} {bench.link}")

    def step(self, contenders: list[Contender]) -> None:
        """Bring everyone up to date where they are not, then change the source."""
        for contender in contenders:
            if contender.name not in self._ready:
                self._seed(contender)
        self._row.edit(self._source, self._chance)

    def job(self, contender: Contender) -> Job:
        """The contender's own copy as the destination."""
        place = self._bench.folder / "kept" / self._row.source / slug(contender)
        return Job(source=self._source, dest=place / "dest", memo=place / "memo")

    def spoil(self, contender: Contender) -> None:
        """Its copy is not what it should be: it starts anew in the next round."""
        self._ready.discard(contender.name)

    @property
    def _source(self) -> Path:
        return getattr(self._bench.data, self._row.source)

    def _seed(self, contender: Contender) -> None:
        """Tools copy here, which is the same to them; gpurun carries it, so that it knows what is there.

        What an earlier row left is taken over: only the difference is carried.
        """
        job = self.job(contender)
        job.dest.mkdir(parents=True, exist_ok=True)
        job.memo.mkdir(exist_ok=True)
        if contender.name.startswith("gpurun"):
            contender.carry(job)
        else:
            subprocess.run(["rsync", "-a", "--delete", f"{job.source}/", f"{job.dest}/"], check=True)
        if not same(job.source, job.dest):
            raise RuntimeError(f"{contender.name} could not be prepared for {self._row.name}")
        self._ready.add(contender.name)


def slug(contender: Contender) -> str:
    """Its name as a folder's."""
    return "".join(letter if letter.isalnum() else "-" for letter in contender.name)


def same(source: Path, dest: Path) -> bool:
    """Whether two folders hold the same names with the same bytes in them."""
    names = [{path.relative_to(root) for path in root.rglob("*")} for root in (source, dest)]
    if names[0] != names[1]:
        return False
    return subprocess.run(["diff", "-rq", source, dest], stdout=subprocess.DEVNULL, check=False).returncode == 0
