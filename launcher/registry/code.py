"""Which code made the weights: the commit, and as a patch whatever went up that is not in it.

It is looked at when the code goes up, in the background, and lies in the run's folder from then on (`keep`): commit and
patch together are what ran, whatever happens to the folder after. Where nothing was kept it is the folder as it is when
the weights are registered, and a note says so. Without git there are a digest of the files and a note.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import subprocess
import tarfile
import threading
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from launcher.errors import GpurunError
from launcher.sync.local import ignore, tree
from launcher.sync.local.private_keys import without_private_keys

TIMEOUT_S = 60.0
MAX_PATCH_BYTES = 8 << 20
LARGEST_BYTES = 256 << 20
"""More than that is data in the wrong place: its digest alone is taken."""
CHANGED = "the folder has changed since the launch; the commit and the patch are of what ran"
NOT_KEPT = "nothing was kept of the code at the launch: what is told of it is the folder as it was found"
_DIFF_OPTIONS = (
    "--no-index",
    "--binary",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--src-prefix=",
    "--dst-prefix=",
)
BROUGHT = "GPURUN_CODE"
"""Names a file that `text` wrote where the code came from: here it has no git tree."""
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


def keep(scan: tree.Scan, place: Path) -> threading.Thread | None:
    """Write what goes up into the file `place`, in the background; `None` where that was done before."""
    if place.exists():
        return None
    thread = threading.Thread(target=_write, args=(scan, place), name="gpurun-pedigree", daemon=True)
    thread.start()
    return thread


def describe(workdir: Path, place: Path) -> Code:
    """The code of a run that was launched in `workdir`: what `keep` wrote, else the folder as it is; never fails."""
    kept = _read(place)
    try:
        scan = without_private_keys(tree.scan(workdir, ignore=ignore.rules(workdir)))
        now = digest(scan)
    except (GpurunError, OSError) as error:
        return kept or Code(facts={}, notes=(f"the code is unknown: {error}",))
    if kept is None:
        found = take(scan)
        return Code(facts=found.facts, patch=found.patch, notes=(NOT_KEPT, *found.notes))
    if kept.facts.get("sha256") == now:
        return kept
    return Code(facts=kept.facts, patch=kept.patch, notes=(*kept.notes, CHANGED))


def take(scan: tree.Scan) -> Code:
    """What a scanned folder holds, against its commit; raises `OSError` where a file of it cannot be read any more."""
    facts: dict[str, Any] = {"sha256": digest(scan), "files": sum(item.kind == "f" for item in scan.items)}
    notes: list[str] = []
    patch = b""
    try:
        facts["commit"] = _git(scan.root, "rev-parse", "--verify", "HEAD").decode().strip()
        facts["branch"] = _git(scan.root, "rev-parse", "--abbrev-ref", "HEAD").decode().strip()
        if scan.size_bytes > LARGEST_BYTES:
            notes.append(f"no patch was made of {scan.size_bytes} bytes of code, over {LARGEST_BYTES}")
        else:
            patch = _patch(scan, facts["commit"])
            facts["dirty"] = bool(patch)
    except (_NoGit, tarfile.TarError) as error:
        notes.append(f"no git commit is known: {error}")
    if len(patch) > MAX_PATCH_BYTES:
        notes.append(f"the patch is left out: {len(patch)} bytes, over {MAX_PATCH_BYTES}")
        patch = b""
    return Code(facts=facts, patch=patch, notes=tuple(notes))


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


def text(code: Code) -> str:
    """As a file of it holds it."""
    patch = base64.b64encode(code.patch).decode()
    return json.dumps({"facts": code.facts, "notes": code.notes, "patch": patch})


def _write(scan: tree.Scan, place: Path) -> None:
    draft = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        draft.write_text(text(_brought(scan) or take(scan)))
        draft.chmod(0o600)
        draft.replace(place)
    except OSError:
        draft.unlink(missing_ok=True)  # a run does not fail for it; whoever asks later is told that nothing was kept


def _brought(scan: tree.Scan) -> Code | None:
    """What was told of the code where it came from, if it is the same to the byte."""
    place = os.environ.get(BROUGHT)
    found = _read(Path(place)) if place else None
    return found if found is not None and found.facts.get("sha256") == digest(scan) else None


def _read(place: Path) -> Code | None:
    try:
        found = json.loads(place.read_bytes())
        patch = base64.b64decode(found["patch"])
        return Code(facts=dict(found["facts"]), patch=patch, notes=tuple(map(str, found["notes"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _patch(scan: tree.Scan, commit: str) -> bytes:
    """From the commit's files to those that went up; committed files that did not go up are not told as removed."""
    names = {item.name for item in scan.items if item.kind == "f"}
    with TemporaryDirectory(prefix="gpurun-code-") as folder:
        before, after = Path(folder, "a"), Path(folder, "b")
        before.mkdir()
        after.mkdir()
        _unpack(scan.root, commit, names, before)
        for name in names:
            (after / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(scan.root / name, after / name)
        return _git(Path(folder), "diff", *_DIFF_OPTIONS, "a", "b", good=(0, 1))


def _unpack(root: Path, commit: str, names: AbstractSet[str], target: Path) -> None:
    """The commit's files of those names, as `git archive` of that folder gives them; nothing else is kept."""
    with subprocess.Popen(
        _command(root, "archive", "--format=tar", commit),
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as archive:
        with tarfile.open(fileobj=archive.stdout, mode="r|") as packed:
            for member in packed:
                if member.isfile() and member.name in names:
                    _put(packed, member, target / member.name)
        if archive.stdout is not None:
            archive.stdout.read()  # the padding behind the end, so that git does not meet a closed pipe
    if archive.returncode:
        raise _NoGit(f"git archive ended with {archive.returncode}")


def _put(packed: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    """Write one file of an archive: `extract` has no filter before Python 3.11.4."""
    place.parent.mkdir(parents=True, exist_ok=True)
    source = packed.extractfile(member)
    if source is not None:
        with source, place.open("xb") as copy:
            shutil.copyfileobj(source, copy)


def _git(folder: Path, *arguments: str, good: tuple[int, ...] = (0,)) -> bytes:
    try:
        done = subprocess.run(
            _command(folder, *arguments), env=_environment(), capture_output=True, timeout=TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        raise _NoGit("git is not installed") from None
    except subprocess.TimeoutExpired:
        raise _NoGit(f"git {arguments[0]} took over {TIMEOUT_S:.0f} s") from None
    if done.returncode not in good:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise _NoGit(said[-1] if said else f"git {arguments[0]} ended with {done.returncode}")
    return done.stdout


def _command(folder: Path, *arguments: str) -> list[str]:
    # The user's file system monitor has no part in it.
    return ["git", "-c", "core.fsmonitor=false", "-c", "core.fileMode=false", "-C", str(folder), *arguments]


def _environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    return {**inherited, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
