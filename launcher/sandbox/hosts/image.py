"""What a namespace host shows of this laptop: which folders hold its Python, and what of /etc stays hidden."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import GpurunError


@dataclass(frozen=True, slots=True, kw_only=True)
class HostImage:
    """The machine image that this laptop makes."""

    environment: tuple[str, ...]
    """Folders shown read-only at their own paths; the first is the one with the jobs' packages."""
    site_packages: tuple[str, ...]
    hidden: tuple[str, ...]
    """Paths, relative to the root, that look absent."""
    sshd: str | None
    sshd_options: tuple[str, ...]


def read_image() -> HostImage:
    """Look at this laptop; a few milliseconds. Raises `GpurunError` where its Python cannot be shown alone."""
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/bin:/usr/local/sbin:/sbin")
    return HostImage(
        environment=_environment(),
        site_packages=tuple(path for path in sys.path if path.endswith(("site-packages", "dist-packages"))),
        hidden=tuple(_private_paths(Path("/etc"))),
        sshd=sshd,
        sshd_options=_options_for(sshd),
    )


def _environment() -> tuple[str, ...]:
    interpreter = Path(sys.executable).resolve()
    folders = [sys.prefix, sys.base_prefix, sys.base_exec_prefix, str(interpreter.parent.parent)]
    unique = tuple(dict.fromkeys(folders))
    for folder in unique:
        if folder == "/" or Path(folder) == Path.home():
            raise GpurunError(
                f"Python's own folder is {folder}, which cannot be shown to a job without all the rest of it",
                hint="run gpurun from a virtual environment, or use `--hosts loopback`",
            )
    return unique


def _private_paths(top: Path) -> list[str]:
    """What the laptop does not let everyone read, a job must not read either, root or not."""
    hidden: list[str] = []
    for folder, folders, files in os.walk(top):
        for name in [*folders, *files]:
            path = Path(folder, name)
            mode = path.lstat().st_mode
            needed = 0o005 if stat.S_ISDIR(mode) else 0o004
            if not stat.S_ISLNK(mode) and mode & needed != needed:
                hidden.append(str(path.relative_to("/")))
                if name in folders:
                    folders.remove(name)
    return hidden


def _options_for(sshd: str | None) -> tuple[str, ...]:
    path = "PATH=/opt/gpurun/bin:/opt/tensorflow/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    options = [f"SetEnv {path} LANG=C.UTF-8"]
    # OpenSSH 9.8 punishes an address for failures, and every caller here has the same one.
    if sshd and b"persourcepenalties" in Path(sshd).read_bytes():
        options.append("PerSourcePenalties no")
    return tuple(options)
