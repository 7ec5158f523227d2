"""Where things lie on the machine, relative to the user's home there, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass

AGENTS = "gpurun"
"""The folder of the agents, each under its content's hash, and of the runs."""


def agent_path(digest: str) -> str:
    """The folder of the agent with that sha256: one that is there is the right one."""
    return f"{AGENTS}/agent-{digest[:16]}"


def run_of(remote_dir: str) -> str:
    """The run whose folder that is, or lies in."""
    return remote_dir.removeprefix(f"{AGENTS}/").partition("/")[0]


@dataclass(frozen=True, slots=True)
class RemoteLayout:
    """One run's folder; `launcher.agent.job.run_paths` knows the same."""

    run_id: str

    @property
    def home(self) -> str:
        """All of the run."""
        return f"{AGENTS}/{self.run_id}"

    @property
    def code(self) -> str:
        """The job's current folder."""
        return f"{self.home}/code"

    @property
    def data(self) -> str:
        """GPURUN_DATA_DIR."""
        return f"{self.home}/data"

    @property
    def champion(self) -> str:
        """GPURUN_CHAMPION_DIR: the weights that a retraining's own are compared with, where it has some."""
        return f"{self.home}/champion"

    @property
    def output(self) -> str:
        """GPURUN_OUTPUT_DIR: what comes home."""
        return f"{self.home}/output"

    @property
    def checkpoint(self) -> str:
        """GPURUN_CHECKPOINT_DIR."""
        return f"{self.home}/checkpoint"

    @property
    def log(self) -> str:
        """The job's standard output and error, byte for byte."""
        return f"{self.home}/log"

    @property
    def state(self) -> str:
        """What the supervisor last wrote down of the job (JSON)."""
        return f"{self.home}/state"
