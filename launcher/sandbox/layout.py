"""Where the sandbox's files lie, and how its process is known again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

PROFILE = "gpurun-sandbox"
REGION = "us-east-1"
ACCESS_KEY = "AKIASANDBOXSANDBOX00"
SECRET_KEY = "sandbox"  # noqa: S105 - of a cloud that anybody on this machine may use
HOSTS = ("auto", "namespaces", "loopback", "none")


@dataclass(frozen=True, slots=True)
class SandboxPaths:
    """One sandbox's folder, all of which goes when it is stopped."""

    home: Path

    @property
    def ready(self) -> Path:
        """There when the sandbox answers: its port, process and kind of hosts."""
        return self.home / "sandbox.json"

    @property
    def pid(self) -> Path:
        """There from the process's first moment on."""
        return self.home / "pid"

    @property
    def log(self) -> Path:
        """What the process has to say."""
        return self.home / "log"

    @property
    def images(self) -> Path:
        """The machine images, as moto reads them."""
        return self.home / "images.json"

    @property
    def aws_config(self) -> Path:
        """For AWS_CONFIG_FILE."""
        return self.home / "aws" / "config"

    @property
    def aws_credentials(self) -> Path:
        """For AWS_SHARED_CREDENTIALS_FILE."""
        return self.home / "aws" / "credentials"

    @property
    def ssh_config(self) -> Path:
        """How ssh finds the hosts."""
        return self.home / "ssh_config"


def process_birth(pid: int) -> float | None:
    """When a process was started, in seconds since 1970; `None` where it is gone or a zombie."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None


def same_process(pid: int, born: float) -> bool:
    """Whether the process that was started then still lives, and not another with its number."""
    now = process_birth(pid)
    return now is not None and abs(now - born) < 1.0
