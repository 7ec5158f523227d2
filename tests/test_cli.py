"""The command line as a process: start-up, exit codes, and messages instead of tracebacks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import cli

HEAVY = ("boto3", "botocore", "paramiko", "pydantic", "rich", "moto", "numpy", "ruamel", "asyncssh")


@pytest.fixture
def gpurun(tmp_path: Path):
    """Runs gpurun in an empty folder with an empty state and no AWS settings at all."""

    def run(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        env |= {"XDG_STATE_HOME": str(tmp_path / "state"), "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
        return subprocess.run(
            [sys.executable, "-m", "launcher.cli", *arguments],
            cwd=tmp_path,
            env=env | extra,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return run


@pytest.mark.parametrize(
    "arguments", [["--help"], ["status", "--json"], ["status"], ["launch", "--help"], ["gc", "--help"]]
)
def test_nothing_heavy_is_imported_before_a_command_needs_it(tmp_path: Path, arguments: list[str]):
    code = (
        "import sys\nfrom launcher import cli\nsys.argv = ['gpurun', *sys.argv[1:]]\n"
        "try: cli.main()\nexcept SystemExit: pass\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip().splitlines()[-1] == "[]"


def test_help_names_every_command_and_each_command_has_help_of_its_own(gpurun):
    text = gpurun("--help").stdout
    for name, (_, short) in cli.COMMANDS.items():
        assert f"  {name} " in text
        assert short in text
    for name in cli.COMMANDS:
        done = gpurun(name, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"gpurun {name}" in done.stdout


def test_completion_scripts_exist(gpurun):
    done = gpurun("--show-completion", "bash", _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_GPURUN_COMPLETE" in done.stdout


def test_status_of_an_empty_ledger(gpurun):
    assert json.loads(gpurun("status", "--json").stdout) == []
    assert "gpurun launch --sandbox" in gpurun("status").stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        (["nonsense"], 2, "nonsense"),
        (["launch", "--bogus"], 2, "--bogus"),
        (["launch"], 2, "gpurun init"),
        (["launch", "train.py"], 2, "train.py"),
        (["status", "digits"], 2, "no run yet"),
        (["resume", "digits"], 2, "no run yet"),
        (["cost", "--since", "soon"], 2, "30d"),
        (["cost", "--since", "99999999999d"], 2, "36500d"),
        (["cost", "--since", "999999w"], 2, "36500d"),
        (["offers", "--memory-gib", "nan"], 2, "--memory-gib"),
        (["offers", "--memory-gib", "inf"], 2, "--memory-gib"),
        (["offers", "--memory-gib", "-1"], 2, "--memory-gib"),
        (["sandbox", "interrupt", "i-0", "--in", "nan"], 2, "--in"),
        (["sandbox", "fault", "add", "Unavailable", "--delay", "nan"], 2, "--delay"),
        (["fetch-weights", "--format", "exe"], 2, "pkl"),
        (["launch", "--sandbox", "--profile", "x", "job.sh"], 2, "two clouds"),
    ],
)
def test_a_mistake_gets_one_clear_message_with_the_next_step(gpurun, tmp_path, arguments, exit_code, words):
    (tmp_path / "job.sh").write_text("true\n")
    done = gpurun(*arguments)
    assert done.returncode == exit_code
    assert words in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert "error: " in done.stderr


def test_no_credentials_say_how_to_get_some(gpurun, tmp_path):
    (tmp_path / "job.sh").write_text("true\n")
    done = gpurun("launch", "job.sh", "--yes", AWS_DEFAULT_REGION="us-east-1")
    assert done.returncode == 3
    assert "aws configure" in done.stderr
    assert "Traceback" not in done.stderr


def test_errors_are_json_where_json_was_asked_for(gpurun):
    done = gpurun("launch", "missing.yaml", "--json")
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["event"], told["type"], told["exit_code"]) == ("error", "SpecError", 2)
    assert told["hint"]


def test_a_bug_of_ours_is_a_file_and_not_a_traceback(gpurun, tmp_path):
    (tmp_path / "state").mkdir()
    broken = (
        "import sys; from launcher import cli; from launcher.commands import standing\n"
        "standing.show = lambda *a, **k: 1 / 0\nsys.exit(cli.run(['status']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", broken],
        env=os.environ | {"XDG_STATE_HOME": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    (crash,) = (tmp_path / "state" / "gpurun").glob("crash-*.txt")
    assert "ZeroDivisionError" in crash.read_text()


def test_init_writes_a_spec_that_loads_and_never_writes_over_one(gpurun, tmp_path):
    assert gpurun("init").returncode == 0
    again = gpurun("init")
    assert again.returncode == 2
    assert "--force" in again.stderr
    schema = json.loads(gpurun("init", "--schema").stdout)
    assert "run" in schema["properties"]


def test_init_forced_writes_through_a_link_and_leaves_no_scraps(gpurun, tmp_path):
    (tmp_path / "mine.yaml").write_text("old")
    (tmp_path / "gpurun.yaml").symlink_to("mine.yaml")
    assert gpurun("init", "--force").returncode == 0
    assert (tmp_path / "gpurun.yaml").is_symlink()
    assert "run:" in (tmp_path / "mine.yaml").read_text()
    assert {each.name for each in tmp_path.iterdir()} == {"gpurun.yaml", "mine.yaml"}


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (".", "is a folder"),
        ("/proc/x.yaml", "cannot write /proc/x.yaml"),
        ("missing/x.yaml", "mkdir -p missing"),
        ("x" * 300, "File name too long"),
    ],
)
@pytest.mark.parametrize("force", [True, False])
def test_init_where_nothing_can_be_written_is_told(gpurun, path, words, force):
    done = gpurun("init", *(["--force"] if force else []), path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "next: " in done.stderr


def test_a_closed_pipe_is_not_an_error(gpurun, tmp_path):
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {sys.executable} -m launcher.cli init --schema | head -1"],
        env=os.environ | {"XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == ""


def test_completion_offers_commands(gpurun):
    done = gpurun(_GPURUN_COMPLETE="complete_bash", COMP_WORDS="gpurun st", COMP_CWORD="1")
    assert done.stdout.split() == ["status", "stop"]


def test_closed_standard_files_are_not_a_bug(tmp_path):
    for closed in (">&-", "2>&-", "<&-"):
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -m launcher.cli status --json {closed}"],
            env=os.environ | {"XDG_STATE_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
