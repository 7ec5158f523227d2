"""The rows of the table: what is carried, on which lines, by whom, and the goal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sync_bench.data import (
    Edit,
    edit_append,
    edit_checkpoint,
    edit_extents,
    edit_files,
    edit_nothing,
    edit_pages,
)

PLAIN = ("rsync -a", "rsync -a, master")
COMPRESSED = ("rsync -az", "rsync -az, master")
COPIES = ("scp", "sftp")
WITH_GCM = ("rsync -a, GCM", "scp, GCM", "tar zstd ssh, GCM")

Kind = Literal["fresh", "kept", "resume", "command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement: contenders in turn, several rounds."""

    name: str
    title: str
    kind: Kind
    """fresh: into an empty folder; kept: into what the round before left; resume: after a cut; command: nothing."""
    links: tuple[str, ...]
    peers: tuple[str, ...]
    source: str = ""
    """Which data set of `data.Data`."""
    on_loopback: tuple[str, ...] = ()
    """Peers that make sense on loopback alone: too slow, or no different, elsewhere."""
    goal: float | None = None
    """Of the best peer's time, at most."""
    goals: dict[str, float] = field(default_factory=dict)
    """Where a line has a goal of its own."""
    of_own: str = ""
    """The goal is a share of our own time on the row of this name."""
    against_on_loopback: str = ""
    """What the best peer's name must begin with there: a goal may name its rival."""
    edit: Edit = edit_nothing
    down: bool = False
    changed: float = 1.0
    """The share of the bytes that must go over the line."""

    def goal_on(self, link: str) -> float | None:
        """The goal on a line."""
        return self.goals.get(link, self.goal)

    def peers_on(self, link: str) -> tuple[str, ...]:
        """Who is measured on a line."""
        return self.peers + (self.on_loopback if link == "lo" else ())


SHAPED = ("lo", "wan", "dsl")
DELTA = {"kind": "kept", "source": "delta", "links": SHAPED, "peers": PLAIN, "on_loopback": ("scp", "scp, GCM")}
BIG = {
    "kind": "fresh",
    "source": "big",
    "links": ("lo", "wan"),
    "peers": (*PLAIN, *COPIES, "tar zstd ssh"),
    "on_loopback": WITH_GCM,
    "goal": 0.5,
    "goals": {"lo": 1.0},
    "against_on_loopback": "rsync",
}
LOSS = {"kind": "fresh", "source": "loss", "links": ("wanl", "dsll"), "peers": (*PLAIN, *COPIES), "goal": 0.35}

ROWS = {
    row.name: row
    for row in (
        Row(
            name="command",
            title="First command on a booted host",
            kind="command",
            links=SHAPED,
            peers=("ssh true",),
            goal=1.0,
        ),
        Row(
            name="tree-first",
            title="10,000 small files, first time",
            kind="fresh",
            source="tree",
            links=SHAPED,
            peers=(*PLAIN, *COMPRESSED, "tar zstd ssh"),
            on_loopback=(*COPIES, "tar zstd ssh, GCM"),
            goal=0.65,
            goals={"lo": 0.9},
        ),
        Row(
            name="tree-same",
            title="10,000 small files, nothing changed",
            kind="kept",
            source="tree",
            links=SHAPED,
            peers=(*PLAIN, *COMPRESSED),
            goal=0.2,
            changed=0.0,
        ),
        Row(
            name="tree-edit",
            title="10,000 small files, 1 % changed",
            kind="kept",
            source="tree",
            links=SHAPED,
            peers=(*PLAIN, *COMPRESSED),
            goal=0.3,
            edit=edit_files,
            changed=0.01,
        ),
        Row(
            name="csv",
            title="CSV, 110 MB",
            kind="fresh",
            source="csv",
            links=SHAPED,
            peers=(*PLAIN, *COMPRESSED, *COPIES, "tar zstd ssh"),
            on_loopback=WITH_GCM,
            goal=0.9,
        ),
        Row(name="big", title="1 GiB incompressible", **BIG),
        Row(name="big-down", title="1 GiB incompressible, down", down=True, **BIG),
        Row(
            name="resume",
            title="1 GiB, the rest after a cut at 50 %",
            kind="resume",
            source="big",
            links=("lo", "wan"),
            peers=("rsync -a --partial", "sftp -a"),
            goal=0.55,
            of_own="big",
            changed=0.5,
        ),
        Row(
            name="extents",
            title="1 GiB, 1 % changed in place, 64 KiB pieces",
            goal=0.8,
            edit=edit_extents,
            changed=0.01,
            **DELTA,
        ),
        Row(
            name="pages",
            title="1 GiB, 1 % changed in place, 4 KiB pages",
            goal=0.8,
            edit=edit_pages,
            changed=0.01,
            **DELTA,
        ),
        Row(name="append", title="1 GiB, 5 % appended", goal=0.8, edit=edit_append, changed=0.05, **DELTA),
        Row(
            name="checkpoint",
            title="1 GiB checkpoint rewritten, 5 % new",
            goal=0.8,
            edit=edit_checkpoint,
            changed=0.05,
            **DELTA,
        ),
        Row(name="loss", title="Incompressible, 1 % loss", **LOSS),
        Row(name="loss-down", title="Incompressible, 1 % loss, down", down=True, **LOSS),
    )
}
