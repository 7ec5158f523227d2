"""`gpurun sync --dry-run` as a process: what is listed, what is told, and which mistakes are answered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from launcher import attach, prepare, send
from launcher.commands import session, sync
from launcher.domain import JobReport
from launcher.errors import HostUnreachable, NoPython, TransferError
from launcher.sync import remote_agent
from launcher.sync.local.tree import Scan


@pytest.fixture
def gpurun(tmp_path: Path):
    """Runs gpurun in a project of its own."""
    project = tmp_path / "project"
    project.mkdir()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"XDG_STATE_HOME": str(tmp_path / "state"), "HOME": str(tmp_path)}
        return subprocess.run(
            [sys.executable, "-m", "launcher.cli", "sync", *arguments],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.fixture
def project(tmp_path: Path, gpurun: object) -> Path:
    return tmp_path / "project"


def make(root: Path, **sizes: int) -> None:
    for name, size in sizes.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(size)


def test_a_folder_is_listed_with_totals_and_what_stays(gpurun, project) -> None:
    make(project, train_dot_py=100, src__model_dot_py=2_000, src__deep__x_dot_py=500, a_dot_log=5)
    (project / ".gitignore").write_text("*.log\n")
    (project / "link").symlink_to("train.py")
    (project / "out").symlink_to("/etc/hostname")
    os.mkfifo(project / "pipe")
    (project / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\n" + "A" * 100 + "\n-----END PRIVATE KEY-----\n")
    done = gpurun("--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == f"code  {project}: 4 files in 2 folders, 2.6 kB"
    assert [line.split() for line in lines[1:3]] == [
        ["2.5", "kB", "2", "files", "src/"],
        ["106", "B", "2", "files", "."],
    ]
    assert [line.split()[-1] for line in lines[4:8]] == ["src/model.py", "src/deep/x.py", "train.py", ".gitignore"]
    assert lines[8:] == [
        "stays here: key.pem a private key never goes up",
        "stays here: out is a link to /etc/hostname, which leads out of the folder",
        "stays here: pipe is a named pipe",
    ]
    every = gpurun("--dry-run", "--all", ".").stdout
    for part in ("  src/deep/\n", "  link -> train.py\n", "  src/deep/x.py\n"):
        assert part in every


def test_json_says_the_same(gpurun, project) -> None:
    make(project, train_dot_py=100, src__model_dot_py=2_000)
    (project / "src" / "link").symlink_to("model.py")
    os.mkfifo(project / "pipe")
    told = json.loads(gpurun("--dry-run", "--json").stdout)
    assert told == {
        "event": "sync",
        "dry_run": True,
        "code": {
            "source": str(project),
            "files": 2,
            "folders": 1,
            "links": 1,
            "size_bytes": 2_100,
            "top": [{"name": "src/", "files": 1, "size_bytes": 2_000}, {"name": ".", "files": 1, "size_bytes": 100}],
            "largest": [{"name": "src/model.py", "size_bytes": 2_000}, {"name": "train.py", "size_bytes": 100}],
            "skipped": [{"name": "pipe", "why": "is a named pipe"}],
        },
        "data": None,
        "warnings": [],
    }
    items = json.loads(gpurun("--dry-run", "--json", "--all").stdout)["code"]["items"]
    assert [(item["name"], item["kind"]) for item in items] == [
        ("src", "d"), ("src/link", "l"), ("src/model.py", "f"), ("train.py", "f"),
    ]  # fmt: skip


def test_a_spec_decides_on_the_folder_and_its_data(gpurun, project) -> None:
    make(project, code__train_dot_py=10, big__a_dot_csv=5_000, big__sub__b_dot_csv=1, other=7)
    (project / "gpurun.yaml").write_text("run: python train.py\nworkdir: code\ndata: big\n")
    for target in ((), (".",), ("gpurun.yaml",)):
        code, data = (json.loads(gpurun("--dry-run", "--json", *target).stdout)[part] for part in ("code", "data"))
        assert (code["source"], code["files"]) == (str(project / "code"), 1)
        assert (data["source"], data["files"], data["size_bytes"]) == (str(project / "big"), 2, 5_001)
    (project / "s3.yaml").write_text("run: python train.py\nworkdir: code\ndata: s3://bucket/prefix\n")
    assert "data  s3://bucket/prefix: the machine fetches it" in gpurun("s3.yaml", "--dry-run").stdout


def test_a_surprise_is_told_with_its_causes(gpurun, project) -> None:
    make(project, data__raw__a_dot_bin=3 << 30, train_dot_py=10)
    done = gpurun("--dry-run")
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "warning: 2 files, 3.2 GB would go up",
        "  data/raw/a.bin 3.2 GB: put it in .gpurunignore, or name it as `data:`",
    ]
    assert json.loads(gpurun("--dry-run", "--json").stdout)["warnings"][0] == "2 files, 3.2 GB would go up"


def test_many_files_are_shown_in_few_lines_unless_all_are_asked_for(gpurun, project) -> None:
    make(project, **{f"d{number % 3}__f{number}": number for number in range(300)})
    short, long = gpurun("--dry-run").stdout.splitlines(), gpurun("--dry-run", "--all").stdout.splitlines()
    assert len(short) == 1 + 3 + 1 + 20 + 1
    assert short[-1] == "... and 280 smaller ones; --all lists every name"
    assert len(long) == 1 + 3 + 1 + 303


def test_many_folders_at_the_top_are_shown_in_few_lines_too(gpurun, project) -> None:
    make(project, **{f"d{number}__f": number for number in range(30)})
    assert gpurun("--dry-run").stdout.splitlines()[21] == "... and 10 smaller folders; --all lists them"
    assert len(gpurun("--dry-run", "--all").stdout.splitlines()) == 1 + 30 + 1 + 60


def test_names_reach_the_terminal_tamed(gpurun, project) -> None:
    (project / "a\x1b[2J\nb").write_text("x")
    Path(os.fsdecode(os.fsencode(project) + b"/caf\xe9")).write_text("x")
    done = gpurun("--dry-run", "--all")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert r"'a\x1b[2J\nb'" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "gpurun sync --dry-run"),
        (("digits-7f3a",), "gpurun launch"),
        (("digits-7f3a", "--dry-run"), "a run's machine"),
        (("none.yaml", "--dry-run"), "no spec none.yaml"),
        (("no/where", "--dry-run"), "no script"),
        (("--bogus",), "--bogus"),
    ],
)
def test_a_mistake_gets_one_clear_message_with_the_next_step(gpurun, arguments, words) -> None:
    done = gpurun(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A run whose machine is reached, and what was sent and told."""
    reporter = MagicMock()
    live = SimpleNamespace(
        run_id="digits-7f3a", reporter=reporter, layout=None, spec=None, aws=None, hang_up=MagicMock()
    )
    found = SimpleNamespace(report=MagicMock(), sent=MagicMock(), warned=reporter.warn, live=live)
    monkeypatch.setattr(session, "ledger", lambda: nullcontext(MagicMock()))
    monkeypatch.setattr(session, "reporter", lambda **_: nullcontext(reporter))
    monkeypatch.setattr(session, "live_run", lambda *_: live)
    monkeypatch.setattr(attach, "reach", lambda _: MagicMock())
    monkeypatch.setattr(prepare, "pack", lambda *_: SimpleNamespace(surprises=["a surprise"]))
    monkeypatch.setattr(send, "send_all", found.sent)
    monkeypatch.setattr(remote_agent, "report", found.report)
    return found


@pytest.mark.parametrize("state", ["starting", "running"])
def test_under_a_running_job_nothing_is_sent(machine: Any, state: str) -> None:
    machine.report.return_value = JobReport(state=state)
    with pytest.raises(TransferError, match="is running") as caught:
        sync.command("digits-7f3a")
    assert "gpurun stop digits-7f3a" in caught.value.hint
    machine.sent.assert_not_called()
    machine.live.hang_up.assert_called_once()


@pytest.mark.parametrize("answer", [JobReport(state="done"), JobReport(state="absent"), NoPython("none")])
def test_without_a_running_job_all_is_sent_and_surprises_are_told(machine: Any, answer: Any) -> None:
    machine.report.side_effect = [answer]
    sync.command("digits-7f3a")
    machine.sent.assert_called_once()
    machine.warned.assert_called_once_with("a surprise")


def test_what_stays_here_is_told_in_names_that_a_terminal_may_be_given() -> None:
    live = MagicMock(lines=None)
    code = Scan(root=Path(), items=(), skipped=())
    luggage = MagicMock(skipped=(("a\x1b[2J", "is a socket"),), code=code)
    lines = MagicMock()
    lines.control.fresh.side_effect = HostUnreachable("nobody is there")
    with pytest.raises(HostUnreachable):
        send.send_all(live, lines, luggage)
    assert live.reporter.warn.call_args_list[0].args == (r"not uploaded: 'a\x1b[2J': is a socket",)
