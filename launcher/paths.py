"""Where things lie on the laptop, and nowhere else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

OWN_FOLDER = "gpurun"
"""Below a run's results: our own files about it."""
RECEIPT_NAME = "receipt.json"
LOG_NAME = "log.txt"
CHECKPOINT_NAME = "checkpoint"


def state_home() -> Path:
    """`$XDG_STATE_HOME/gpurun`, or `~/.local/state/gpurun` (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(base).expanduser() / "gpurun"


@dataclass(frozen=True, slots=True)
class StatePaths:
    """The state folder's layout."""

    home: Path

    @property
    def ledger(self) -> Path:
        """The SQLite journal of all runs."""
        return self.home / "ledger.db"

    @property
    def ssh_config(self) -> Path:
        """One ssh_config that includes every live run's."""
        return self.home / "ssh_config"

    @property
    def runs(self) -> Path:
        """One folder a run."""
        return self.home / "runs"

    @property
    def memory(self) -> Path:
        """What machines hold and what large files hash to: lost, it costs time and no more."""
        return self.home / "memory"

    @property
    def here(self) -> Path:
        """What a home is to other machines, for runs on this one: `gpurun/` below it holds their folders."""
        return self.home / "here"

    @property
    def sandbox(self) -> Path:
        """All of the sandbox cloud."""
        return self.home / "sandbox"

    @property
    def schedules(self) -> Path:
        """The daemon's lock, and a folder a schedule with what its launchers said."""
        return self.home / "schedules"

    def run(self, run_id: str) -> RunPaths:
        """One run's folder."""
        return RunPaths(self.runs / run_id)


@dataclass(frozen=True, slots=True)
class RunPaths:
    """One run's private folder (mode 0700)."""

    home: Path

    @property
    def key(self) -> Path:
        """The private key made for the run."""
        return self.home / "key"

    @property
    def host_key(self) -> Path:
        """The private host key until the machine has it."""
        return self.home / "host_key"

    @property
    def known_hosts(self) -> Path:
        """The machine's pinned host key."""
        return self.home / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """How ssh, scp and rsync reach the machine by the run's name."""
        return self.home / "ssh_config"

    @property
    def code(self) -> Path:
        """The code as it went up."""
        return self.home / "code"

    @property
    def pedigree(self) -> Path:
        """What the code was as it went up: commit, patch and digest; it stays when the run is over."""
        return self.home / "code.json"

    @property
    def champion(self) -> Path:
        """The champion's files, which go along with a retraining; gone when the run is over."""
        return self.home / "champion"

    @property
    def inherited(self) -> Path:
        """The checkpoint of an earlier run that this one goes on from; gone when the run is over."""
        return self.home / "inherited"

    @property
    def shipments(self) -> Path:
        """The job's checkpoints as far as they have come home, in generations."""
        return self.home / "shipments"

    @property
    def log(self) -> Path:
        """The job's log as far as it has come home; its size is the offset to go on from."""
        return self.home / "log"
