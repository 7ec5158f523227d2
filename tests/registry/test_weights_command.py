"""`gpurun weights` and `gpurun fetch-weights NAME@VERSION` as a user has them: words, JSON, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from launcher import cli, spec, weights
from launcher.domain import Account, JobSpec, RunId, RunStatus
from launcher.ledger import Ledger, RunRecord, account_to_text
from launcher.paths import StatePaths

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def gpurun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary) -> Call:
    """The command line in an empty folder with a state of its own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("GPURUN_WEIGHTS", raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        capfdbinary.readouterr()
        status = cli.run(list(arguments))
        out, err = capfdbinary.readouterr()
        return status, out.decode(), err.decode()

    return call


@pytest.fixture
def run(tmp_path: Path, gpurun: Call) -> Callable[[int, float], str]:
    """A run that ended well, with weights of that value."""

    def make(number: int, value: float, error: float = 0.1) -> str:
        run_id = f"digits-{number}"
        results = tmp_path / "runs" / run_id
        results.mkdir(parents=True)
        np.savez(results / "weights.npz", w=np.full((2, 2), value))
        (results / "result.json").write_text(json.dumps({"test_error": error}))
        workdir = tmp_path / "work"
        workdir.mkdir(exist_ok=True)
        now = datetime.now(UTC)
        record = RunRecord(
            run_id=RunId(run_id),
            name="digits",
            status=RunStatus.SUCCEEDED,
            created_at=now,
            updated_at=now,
            account=account_to_text(Account()),
            region="us-east-1",
            spec=spec.dump(JobSpec(name="digits", argv=("python", "x.py"), workdir=workdir)),
            results_dir=str(results),
            token="t",
        )
        with Ledger.open(StatePaths(tmp_path / "state" / "gpurun").ledger) as book:
            book.create(record)
        return run_id

    return make


@pytest.fixture
def two(run, gpurun) -> None:
    for number, value in ((1, 1.0), (2, 2.0)):
        gpurun("weights", "add", run(number, value, 0.3 / number))
    gpurun("weights", "promote", "digits@1")


def test_from_a_run_to_a_champion_and_back(gpurun, run):
    status, out, _ = gpurun("weights", "list")
    assert (status, "has no weights yet; gpurun weights add RUN" in out) == (0, True)
    assert not Path("weights").exists()
    status, out, _ = gpurun("weights", "add", run(1, 1.0))
    assert status == 0
    assert "digits@1 is kept in" in out
    assert "gpurun weights promote digits@1" in out
    gpurun("weights", "add", run(2, 2.0))
    assert gpurun("weights", "promote", "digits@1")[1] == "digits@1 is the champion\n"
    first = Path("weights/digits/champion/weights.npz").read_bytes()
    assert gpurun("weights", "promote", "digits@latest")[1] == "digits@2 is the champion; digits@1 is retired\n"
    status, out, _ = gpurun("weights", "list", "digits")
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [["1", "retired"], ["2", "champion"]]
    assert (
        gpurun("weights", "rollback", "digits", "--why", "worse")[1]
        == "digits@1 is the champion; digits@2 is retired\n"
    )
    assert Path("weights/digits/champion/weights.npz").read_bytes() == first
    out = gpurun("weights", "show", "digits@1")[1]
    assert "digits@1: champion" in out
    assert "rolled back" in out
    assert "worse" in out


def test_json_says_all_of_it(gpurun, two):
    found = json.loads(gpurun("weights", "list", "digits", "--json")[1])
    assert (found["champion"], [each["stage"] for each in found["versions"]]) == (1, ["champion", "challenger"])
    assert found["versions"][1]["about"]["metrics"] == {"test_error": 0.15}
    shown = json.loads(gpurun("weights", "show", "digits", "--json")[1])
    assert (shown["number"], shown["about"]["run_id"], len(shown["history"])) == (1, "digits-1", 1)
    change = json.loads(gpurun("weights", "promote", "digits@2", "--expect", "1", "--json")[1])
    assert (change["champion"], change["before"], change["changed"]) == (2, 1, True)
    assert json.loads(gpurun("weights", "list", "--json")[1])["models"][0]["champion"] == 2
    assert json.loads(gpurun("weights", "verify", "--json")[1])["versions"] == 2
    assert (
        json.loads(gpurun("weights", "diff", "digits@1", "digits@2", "--json")[1])["arrays"][0]["largest_relative"]
        == 0.5
    )
    error = json.loads(gpurun("weights", "promote", "digits@1", "--expect", "1", "--json")[1])
    assert (error["type"], error["exit_code"]) == ("ChampionMoved", 6)


def test_the_expected_champion_decides(gpurun, two):
    status, _, err = gpurun("weights", "promote", "digits@2", "--expect", "none")
    assert status == 6
    assert "compared with no champion, and the champion is digits@1" in err
    assert "next: compare it again: gpurun weights diff" in err
    assert gpurun("weights", "promote", "digits@2", "--expect", "x")[0] == 2


def test_promoting_needs_a_version(gpurun, two):
    status, _, err = gpurun("weights", "promote", "digits")
    assert status == 6
    assert "digits@latest or digits@3" in err


@pytest.mark.parametrize(("word", "suffix"), [("pickle", "pkl"), ("npz", "npz"), ("safetensors", "safetensors")])
def test_export_in_every_format(gpurun, two, word, suffix):
    status, out, _ = gpurun("weights", "export", "digits@2", "--to", word, "--out", "out")
    assert (status, "digits@2, verified" in out) == (0, True)
    assert (weights.load(Path("out") / f"weights.{suffix}")["w"] == 2).all()
    assert not Path("out/result.json").exists()
    assert gpurun("weights", "export", "digits", "--to", "onnx")[0] == 2


def test_fetch_weights_takes_an_address(gpurun, two):
    status, out, _ = gpurun("fetch-weights", "digits@champion")
    assert (status, "digits@1, verified" in out) == (0, True)
    assert {path.name for path in Path("digits-v1").iterdir()} == {"weights.npz", "result.json"}
    found = json.loads(gpurun("fetch-weights", "digits@2", "--to", "to", "--format", "pkl", "--json")[1])
    assert (found["number"], sorted(Path(row["file"]).name for row in found["files"])) == (
        2,
        ["result.json", "weights.pkl"],
    )
    assert (weights.load(Path("to/weights.pkl"))["w"] == 2).all()
    assert gpurun("fetch-weights", "digits@9")[0] == 6
    assert gpurun("fetch-weights", "digits@latest", "--to", "l")[0] == 0


@pytest.mark.parametrize("arguments", [("fetch-weights", "digits@2", "--to", "."), ("weights", "export", "digits@2")])
def test_a_file_of_the_user_s_is_not_written_over(gpurun, two, arguments):
    np.savez("weights.npz", w=np.full((2, 2), 7.0))
    mine = Path("weights.npz").read_bytes()
    status, _, err = gpurun(*arguments)
    assert (status, "weights.npz is there already" in err, "  next: " in err) == (6, True, True)
    assert gpurun("weights", "export", "digits@2", "--to", "pickle")[0] == 0
    assert gpurun("weights", "export", "digits@2", "--to", "pickle")[0] == 0
    status, _, err = gpurun("weights", "export", "digits@1", "--to", "pickle")
    assert (status, "weights.pkl is there already" in err) == (6, True)
    assert Path("weights.npz").read_bytes() == mine
    assert (weights.load(Path("weights.pkl"))["w"] == 2).all()


def test_nothing_is_written_through_a_link(gpurun, two, tmp_path):
    Path("to").mkdir()
    (tmp_path / "precious").write_text("mine")
    Path("to/weights.npz").symlink_to(tmp_path / "precious")
    status, _, err = gpurun("fetch-weights", "digits@1", "--to", "to")
    assert status == 2
    assert "in the way" in err
    assert (tmp_path / "precious").read_text() == "mine"


def test_verify_ends_with_6_and_says_what_to_do(gpurun, two):
    assert gpurun("weights", "verify")[:2] == (0, "2 versions are whole, 566 B read\n".replace("566", _read()))
    damaged = max(Path("weights/objects").iterdir(), key=lambda path: path.stat().st_size)
    damaged.unlink()
    damaged.write_bytes(b"short")
    status, out, _ = gpurun("weights", "verify", "digits")
    assert status == 6
    assert "cannot be trusted" in out
    assert "next: gpurun weights verify digits" in out


def _read() -> str:
    from launcher.render import size

    return size(sum(path.stat().st_size for path in Path("weights/objects").iterdir())).removesuffix(" B")


def test_prune_asks_first(gpurun, run, two):
    gpurun("weights", "add", run(3, 3.0))
    status, out, _ = gpurun("weights", "prune", "--keep", "0", "--grace-hours", "0")
    assert (status, out) == (0, "would remove digits@2, digits@3; 4 objects, " + out.split("objects, ")[1])
    assert "--yes removes them" in out
    assert gpurun("weights", "prune", "--keep", "0", "--grace-hours", "0", "--yes")[1].startswith("removed digits@2")
    status, _, err = gpurun("weights", "promote", "digits@2")
    assert status == 6
    assert "was pruned" in err
    assert gpurun("weights", "verify")[0] == 0


def test_prune_says_what_stays_for_a_while(gpurun, run, two):
    gpurun("weights", "add", run(3, 3.0))
    for arguments, said in (((), "would remove digits@2; 0 objects"), (("--yes",), "removed digits@2; 0 objects")):
        status, out, _ = gpurun("weights", "prune", "--keep", "1", *arguments)
        assert (status, out.startswith(said)) == (0, True)
        assert "2 more objects that no version needs are younger than 1 h and stay" in out
    assert "removed no version; 2 objects" in gpurun("weights", "prune", "--grace-hours", "0", "--yes")[1]


def test_a_history_that_was_cut_off_ends_with_6_and_a_next_step(gpurun, two):
    gpurun("weights", "promote", "digits@2")
    lost = Path("weights/digits/history/00000002.json")
    entry = lost.read_bytes()
    lost.unlink()
    for arguments in (("verify",), ("verify", "digits")):
        status, out, _ = gpurun("weights", *arguments)
        assert status == 6
        assert "digits/history/00000002.json, which digits/champion follows, is missing" in out
        assert "next: bring digits/history/00000002.json back" in out
        assert "2 versions are whole" in out
    for arguments in (("weights", "promote", "digits@2"), ("weights", "list"), ("weights", "show", "digits@2")):
        status, _, err = gpurun(*arguments)
        assert (status, "the log was cut off at its end" in err) == (6, True)
    lost.write_bytes(entry)
    assert gpurun("weights", "verify")[0] == 0


def test_a_version_that_was_replaced_is_not_fetched_as_verified(gpurun, two):
    gpurun("weights", "promote", "digits@2")
    versions = Path("weights/digits/versions")
    replaced = {**json.loads((versions / "1.json").read_bytes()), "number": 2}
    (versions / "2.json").unlink()
    (versions / "2.json").write_text(json.dumps(replaced))
    status, out, _ = gpurun("weights", "verify")
    assert (status, "digits/versions/2.json was replaced: the log says sha256" in out) == (6, True)
    for which in ("digits@champion", "digits@2"):
        status, _, err = gpurun("fetch-weights", which)
        assert (status, "digits/versions/2.json was replaced" in err) == (6, True)
        assert "gpurun weights rollback digits returns to the champion before" in err
    assert gpurun("weights", "rollback", "digits")[0] == 0
    assert "digits@1, verified" in gpurun("fetch-weights", "digits@champion")[1]


def test_the_variable_and_the_option_name_the_store(gpurun, run, monkeypatch, tmp_path):
    monkeypatch.setenv("GPURUN_WEIGHTS", str(tmp_path / "shared"))
    gpurun("weights", "add", run(1, 1.0))
    assert (tmp_path / "shared" / "digits" / "versions" / "1.json").is_file()
    gpurun("weights", "add", "digits-1", "--store", str(tmp_path / "other"), "--name", "faces")
    assert (tmp_path / "other" / "faces" / "versions" / "1.json").is_file()
    assert gpurun("weights", "list", "--store", "gs://x")[0] == 6


def test_a_bucket_of_the_sandbox(gpurun, run, sandbox_none, aws, uri, monkeypatch):
    account = sandbox_none.account
    monkeypatch.setenv("AWS_CONFIG_FILE", str(account.config_file))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(account.credentials_file))
    monkeypatch.setenv("AWS_PROFILE", account.profile or "default")
    place = ("--store", uri)
    assert gpurun("weights", "add", run(1, 1.0), *place)[0] == 0
    assert gpurun("weights", "promote", "digits@1", *place)[1] == "digits@1 is the champion\n"
    assert gpurun("fetch-weights", "digits@champion", *place)[0] == 0
    assert (weights.load(Path("digits-v1/weights.npz"))["w"] == 1).all()
    status, _, err = gpurun("weights", "list", "--store", "s3://no-such-bucket-here")
    assert status == 2
    assert "no bucket" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ("weights", "show", "nothing"),
        ("weights", "show", "../etc@1"),
        ("weights", "diff", "digits@1", "digits@x"),
        ("weights", "rollback", "objects"),
        ("weights", "verify", "nothing"),
        ("weights", "prune", "nothing", "--yes"),
        ("weights", "add", "nothing"),
        ("weights", "add", "digits-1", "--parent", "7"),
        ("weights", "export", "digits@2", "--out", "/proc/nowhere"),
    ],
)
def test_mistakes_are_errors_with_a_next_step(gpurun, two, arguments):
    status, _, err = gpurun(*arguments)
    assert status in {2, 6}
    assert "error: " in err
    assert "  next: " in err
    assert "Traceback" not in err
