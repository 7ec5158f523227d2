"""Which code made the weights: the commit, and as a patch whatever ran that is not in it.

The patch is made between the commit's tree and the code as it went up, which is kept with the run
(`launcher.keepsake`): commit and patch together are what ran, whatever happened to the folder since. Where nothing was
kept it is the folder as it is now, and a note says so. Without git there are a digest of the files and a note.
"""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from launcher.errors import GpurunError
from launcher.sync.local import ignore, tree

TIMEOUT_S = 60.0
MAX_PATCH_BYTES = 8 << 20
_DIFF_OPTIONS = (
    "--no-index",
    "--binary",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--src-prefix=",
    "--dst-prefix=",
)
_OF_A_HOOK = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_EXTERNAL_DIFF"})
"""What git sets for programs that it starts, which would lead us to another tree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What is known of it."""

    facts: dict[str, Any]
    """`commit`, `branch`, `dirty`, `sha256` and `files` of what ran; each only where it is known."""
    patch: bytes = b""
    notes: tuple[str, ...] = ()


class _NoGit(Exception):
    """git is missing, or the folder is in none of its trees."""


def describe(workdir: Path, kept: Path) -> Code:
    """The code of a run that was launched in `workdir`, and of which a copy may lie in `kept`; never fails."""
    ran = kept if kept.is_dir() else workdir
    if not ran.is_dir():
        return Code(facts={}, notes=(f"the code is unknown: {workdir} is gone, and no copy of it was kept",))
    notes = [] if ran == kept else ["no copy of the code was kept: what is told of it is the folder as it was found"]
    try:
        scan = tree.scan(ran, ignore=ignore.nothing() if ran == kept else ignore.rules(ran))
        facts: dict[str, Any] = {"sha256": digest(scan), "files": sum(item.kind == "f" for item in scan.items)}
        if ran == kept and workdir.is_dir() and _differs(scan, workdir):
            notes.append("the folder has changed since the launch; the commit and the patch are of what ran")
    except (GpurunError, OSError) as error:
        return Code(facts={}, notes=(*notes, f"the code could not be read: {error}"))
    return _with_git(workdir, scan, facts, notes)


def digest(scan: tree.Scan) -> str:
    """One sha256 of a tree: of the lines "kind name sha256-or-target", in the order of their names."""
    whole = hashlib.sha256()
    for item in sorted(scan.items):
        if item.kind == "d":
            continue
        content = item.link_target
        if item.kind == "f":
            with (scan.root / item.name).open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{item.kind} {item.name}\0{content}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _with_git(workdir: Path, scan: tree.Scan, facts: dict[str, Any], notes: list[str]) -> Code:
    try:
        commit = _git(workdir, "rev-parse", "--verify", "HEAD").decode().strip()
        facts |= {"commit": commit, "branch": _git(workdir, "rev-parse", "--abbrev-ref", "HEAD").decode().strip()}
        patch = _patch(workdir, commit, scan)
    except (_NoGit, OSError, tarfile.TarError) as error:
        return Code(facts=facts, notes=(*notes, f"no git commit is known: {error}"))
    facts["dirty"] = bool(patch)
    if len(patch) > MAX_PATCH_BYTES:
        notes.append(f"the patch is left out: {len(patch)} bytes, over {MAX_PATCH_BYTES}")
        patch = b""
    return Code(facts=facts, patch=patch, notes=tuple(notes))


def _patch(workdir: Path, commit: str, scan: tree.Scan) -> bytes:
    """From the commit's files to those that ran; committed files that did not go up are not told as removed."""
    with TemporaryDirectory(prefix="gpurun-code-") as folder:
        before, after = Path(folder, "a"), Path(folder, "b")
        before.mkdir()
        after.mkdir()
        archive = _git(workdir, "archive", "--format=tar", commit)
        with tarfile.open(fileobj=BytesIO(archive)) as packed:
            packed.extractall(before, filter="data")
        names = {item.name for item in scan.items if item.kind == "f"}
        for path in [path for path in before.rglob("*") if path.is_symlink() or path.is_file()]:
            if path.relative_to(before).as_posix() not in names:
                path.unlink()
        for name in names:
            (after / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(scan.root / name, after / name)
        return _git(Path(folder), "diff", *_DIFF_OPTIONS, "a", "b", good=(0, 1))


def _git(folder: Path, *arguments: str, good: tuple[int, ...] = (0,)) -> bytes:
    # The user's pager, hooks and external programs have no part in it.
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    env = {**inherited, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    command = ["git", "-c", "core.fsmonitor=false", "-c", "core.fileMode=false", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, env=env, capture_output=True, timeout=TIMEOUT_S, check=False)
    except FileNotFoundError:
        raise _NoGit("git is not installed") from None
    except subprocess.TimeoutExpired:
        raise _NoGit(f"git {arguments[0]} took over {TIMEOUT_S:.0f} s") from None
    if done.returncode not in good:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise _NoGit(said[-1] if said else f"git {arguments[0]} ended with {done.returncode}")
    return done.stdout


def _differs(kept: tree.Scan, workdir: Path) -> bool:
    now = {item.name for item in tree.scan(workdir, ignore=ignore.rules(workdir)).items if item.kind == "f"}
    then = {item.name for item in kept.items if item.kind == "f"}
    return bool(now ^ then) or any(not filecmp.cmp(kept.root / name, workdir / name, shallow=False) for name in then)
