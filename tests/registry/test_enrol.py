"""A run's weights with its pedigree: commit and patch of what ran, data, metrics, receipt; with git and without."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from launcher import spec
from launcher.domain import Account, JobSpec, RunId, RunStatus
from launcher.errors import SpecError, WeightsError
from launcher.ledger import Ledger, RunRecord, account_to_text
from launcher.paths import StatePaths
from launcher.registry import code, reading
from launcher.registry.data import fingerprint
from launcher.registry.enrol import Wish, enrol
from launcher.registry.registry import Registry
from launcher.registry.version import Version
from launcher.sync.local import ignore, tree
from launcher.sync.local.private_keys import without_private_keys

Enrol = Callable[..., Version]


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *identity, "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def state(tmp_path: Path) -> StatePaths:
    return StatePaths(tmp_path / "state")


@pytest.fixture
def book(state: StatePaths) -> Iterator[Ledger]:
    with Ledger.open(state.ledger) as opened:
        yield opened


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """A project in a folder of a git tree."""
    folder = tmp_path / "repo" / "project"
    folder.mkdir(parents=True)
    (folder / "train.py").write_text("print('one')\n")
    (folder / "notes.md").write_text("not sent\n")
    (folder / ".gpurunignore").write_text("notes.md\n.gpurunignore\n")
    (folder.parent / "elsewhere.txt").write_text("beside it\n")
    git(folder.parent, "init", "-q")
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "-q", "-m", "first")
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "runs" / "digits-1"
    (folder / "gpurun" / "checkpoint").mkdir(parents=True)
    np.savez(folder / "weights.npz", w=np.arange(3.0))
    np.savez(folder / "gpurun" / "checkpoint" / "state.npz", w=np.arange(3.0))
    (folder / "result.json").write_text(json.dumps({"test_error": 0.05, "model": "digits"}))
    (folder / "history.csv").write_text("1,2\n")
    return folder


@pytest.fixture
def record(book: Ledger, workdir: Path, results: Path, tmp_path: Path) -> RunRecord:
    now = datetime.now(UTC) + timedelta(seconds=5)
    data = tmp_path / "data"
    data.mkdir()
    (data / "x.csv").write_text("1\n")
    job = JobSpec(name="digits", argv=("python", "train.py"), workdir=workdir, data=data)
    made = RunRecord(
        run_id=RunId("digits-1"),
        name="digits",
        status=RunStatus.SUCCEEDED,
        created_at=now,
        updated_at=now,
        account=account_to_text(Account()),
        region="us-east-1",
        spec=spec.dump(job),
        results_dir=str(results),
        token="t",
        receipt=json.dumps({"cost_usd": 0.01}),
    )
    book.create(made)
    book.event(made.run_id, "fetched", {"files": 3, "size_bytes": 1, "own": "gpurun"})
    return made


@pytest.fixture
def keep(state: StatePaths, workdir: Path) -> Callable[[], None]:
    """What a launch does with the code."""

    def kept() -> None:
        state.run("digits-1").home.mkdir(parents=True)
        scan = without_private_keys(tree.scan(workdir, ignore=ignore.rules(workdir)))
        thread = code.keep(scan, state.run("digits-1").pedigree)
        assert thread is not None
        thread.join()
        assert code.keep(scan, state.run("digits-1").pedigree) is None

    return kept


@pytest.fixture
def enroll(local: Registry, record: RunRecord, book: Ledger, state: StatePaths) -> Enrol:
    def call(change: dict[str, object] | None = None, **wish: object) -> Version:
        return enrol(local, replace(record, **(change or {})), book, state, wish=Wish(**wish))  # type: ignore[arg-type]

    return call


def patch_of(registry: Registry, version: Version) -> str:
    return reading.text(registry.store, version, version.diff) if version.diff else ""


def test_a_clean_tree_is_its_commit(local, enroll, keep, workdir):
    keep()
    version = enroll()
    about = version.about
    assert about.code["commit"] == git(workdir, "rev-parse", "HEAD")
    assert (about.code["branch"], about.code["dirty"], version.diff) == ("main", False, None)
    assert [file.name for file in version.files] == ["result.json", "weights.npz"]
    assert about.metrics == {"test_error": 0.05, "model": "digits"}
    assert about.receipt == {"cost_usd": 0.01}
    assert about.spec["argv"] == ["python", "train.py"]
    assert about.data["sha256"] == fingerprint(Path(about.data["place"])).sha256
    assert about.notes == ()


def test_the_patch_is_of_what_ran_whatever_became_of_the_folder(local, enroll, keep, workdir, tmp_path):
    (workdir / "train.py").write_text("print('two')\n")
    (workdir / "model.py").write_text("layers = 3\n")
    (workdir / "table.bin").write_bytes(bytes(range(256)))
    keep()
    first = git(workdir, "rev-parse", "HEAD")
    (workdir / "train.py").write_text("print('three')\n")
    git(workdir, "commit", "-q", "-a", "-m", "later")
    version = enroll()
    assert (version.about.code["dirty"], version.about.code["commit"]) == (True, first)
    assert version.about.notes == ("the folder has changed since the launch; the commit and the patch are of what ran",)
    # Commit and patch give back what ran, byte for byte.
    again = tmp_path / "again"
    again.mkdir()
    archive = subprocess.run(
        ["git", "-C", str(workdir), "archive", version.about.code["commit"]], capture_output=True, check=True
    ).stdout
    subprocess.run(["tar", "-x", "-C", str(again)], input=archive, check=True)
    git(again, "init", "-q")
    (tmp_path / "code.patch").write_text(patch_of(local, version))
    git(again, "apply", str(tmp_path / "code.patch"))
    assert (again / "train.py").read_text() == "print('two')\n"
    assert (again / "model.py").read_text() == "layers = 3\n"
    assert (again / "table.bin").read_bytes() == bytes(range(256))
    assert "notes.md" not in patch_of(local, version)


def test_a_patch_can_be_left_out(local, enroll, keep, workdir):
    (workdir / "train.py").write_text("password = 'x'\n")
    keep()
    version = enroll(patch=False)
    assert (version.diff, version.about.code["dirty"]) == (None, True)


def test_without_a_copy_it_is_the_folder_as_it_is_and_says_so(local, enroll, workdir):
    (workdir / "train.py").write_text("print('two')\n")
    version = enroll()
    assert version.about.notes == (code.NOT_KEPT,)
    assert "+print('two')" in patch_of(local, version)


def test_without_git_it_is_a_digest_and_a_note(local, enroll, keep, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    keep()
    version = enroll()
    assert len(version.about.code["sha256"]) == 64
    assert version.about.notes == ("no git commit is known: git is not installed",)


def test_outside_of_a_git_tree(local, enroll, keep, workdir, tmp_path):
    import shutil

    shutil.rmtree(tmp_path / "repo" / ".git")
    keep()
    (note,) = enroll().about.notes
    assert "not a git repository" in note


def test_a_hook_s_variables_do_not_lead_astray(enroll, keep, workdir, monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    keep()
    assert "commit" in enroll().about.code


def test_a_folder_that_is_gone(local, enroll, workdir):
    import shutil

    shutil.rmtree(workdir)
    assert "the code is unknown" in enroll().about.notes[0]


def test_data_that_changed_since_is_told(enroll, keep, record):
    keep()
    version = enroll({"created_at": datetime(2020, 1, 1, tzinfo=UTC)})
    assert version.about.notes == ("the data has changed since the launch: its digest is of what is there now",)


def test_further_files_and_another_name(enroll, keep):
    keep()
    version = enroll(name="faces", include=("*.csv",))
    assert (version.name, [file.name for file in version.files]) == (
        "faces",
        ["history.csv", "result.json", "weights.npz"],
    )


def test_the_same_run_twice_is_one_version(enroll, keep):
    keep()
    assert enroll() == enroll()


@pytest.mark.parametrize(
    ("status", "said"),
    [(RunStatus.RUNNING, "is not over: running"), (RunStatus.FAILED, "failed: its weights may be")],
)
def test_a_run_that_did_not_succeed(enroll, status, said):
    with pytest.raises(SpecError, match=said):
        enroll({"status": status})


def test_a_failed_run_s_weights_may_be_asked_for(enroll, keep):
    keep()
    assert enroll({"status": RunStatus.FAILED}, accept_failed=True).number == 1


def test_a_run_without_weights(enroll, results):
    (results / "weights.npz").unlink()
    with pytest.raises(WeightsError, match="no weights in"):
        enroll()


def test_results_that_are_gone(enroll, tmp_path):
    with pytest.raises(WeightsError, match="is not there any more"):
        enroll({"results_dir": str(tmp_path / "gone")})


@pytest.mark.parametrize("glob", ["../*", "/etc/*", "nothing*", ""])
def test_globs_that_name_nothing_below(enroll, glob):
    with pytest.raises(SpecError, match="nothing below"):
        enroll(include=(glob,))


@pytest.mark.parametrize("text", ["{", "[1]", "x" * (2 << 20)])
def test_a_broken_result_is_a_note(enroll, keep, results, text):
    keep()
    (results / "result.json").write_text(text)
    version = enroll()
    assert version.about.metrics == {}
    assert "result.json" in version.about.notes[0]


def test_the_digest_of_data_changes_with_names_and_contents(tmp_path, aws, uri):
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "a").write_text("1")
    first = fingerprint(folder)
    assert fingerprint(folder).sha256 == first.sha256
    (folder / "a").write_text("2")
    second = fingerprint(folder)
    (folder / "a").rename(folder / "b")
    third = fingerprint(folder)
    assert len({first.sha256, second.sha256, third.sha256}) == 3
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    seen = set()
    for key, body in (("a", b"1"), ("a", b"2"), ("b", b"1")):
        aws.s3.put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=body)
        seen.add(fingerprint(uri, aws).sha256)
    aws.s3.put_object(Bucket=bucket, Key=f"{prefix}-other/c", Body=b"1")
    seen.add(fingerprint(uri, aws).sha256)
    assert len(seen) == 3
    assert fingerprint(uri, aws).files == 2
