"""Asking the programs of the machine's schedulers."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import dataclass

from launcher.errors import SpecError

TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a program said."""

    status: int
    stdout: bytes
    stderr: str

    @property
    def why(self) -> str:
        """Its complaint in a line."""
        lines = self.stderr.strip().splitlines()
        return lines[0].strip()[:300] if lines else f"exit status {self.status}"


def ask(*argv: str, stdin: bytes = b"", environment: dict[str, str] | None = None) -> Answer:
    """Run a program to its end, in the C locale; raises `SpecError` where it is missing or does not end."""
    env = os.environ | {"LC_ALL": "C"} | (environment or {})
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, check=False, timeout=TIMEOUT_S, env=env)
    except OSError as fault:
        raise SpecError(f"{argv[0]} cannot be started: {fault.strerror}", hint=_OTHERWISE) from fault
    except subprocess.TimeoutExpired as fault:
        raise SpecError(f"`{shlex.join(argv)}` did not end in {TIMEOUT_S:.0f} s", hint=_OTHERWISE) from fault
    return Answer(status=done.returncode, stdout=done.stdout, stderr=done.stderr.decode(errors="replace"))


def must(*argv: str, stdin: bytes = b"", environment: dict[str, str] | None = None) -> Answer:
    """The same; raises `SpecError` with what it said unless it succeeded."""
    answer = ask(*argv, stdin=stdin, environment=environment)
    if answer.status != 0:
        raise SpecError(f"`{shlex.join(argv)}` failed: {answer.why}", hint=_OTHERWISE)
    return answer


_OTHERWISE = "another kind with --with systemd|crontab|launchd, or gpurun schedule daemon in a terminal"
