"""`gpurun schedule install`: what it chooses, shows, warns of and refuses."""

from __future__ import annotations

import sys
from pathlib import Path

import pexpect
import pytest

from launcher.schedule.timer import script
from tests.schedule.timer.conftest import Cli, Machine


def add(gpurun: Cli, machine: Machine, monkeypatch: pytest.MonkeyPatch, spec: str = "") -> str:
    """A schedule; gives what was said."""
    work = machine.home / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    Path("train.sh").write_text("true\n")
    Path("job.yaml").write_text(f"name: tiny\nrun: sh train.sh\n{spec}")
    return gpurun.run("add", "weekly", "job.yaml", "--cron", "0 3 * * 1", "--on", "local")[0]


@pytest.mark.parametrize(
    ("platform", "has", "chosen"),
    [
        ("linux", ("systemd", "crontab"), "systemd"),
        ("linux", ("crontab",), "crontab"),
        ("darwin", ("launchd", "crontab"), "launchd"),
        ("darwin", ("crontab",), "crontab"),
    ],
)
def test_it_takes_what_the_machine_has(
    machine: Machine, gpurun: Cli, monkeypatch: pytest.MonkeyPatch, platform: str, has: tuple[str, ...], chosen: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    machine.only(*has)
    before = machine.files()
    told = gpurun.json("install", "--dry-run")
    assert (told["with"], told["installed"], told["changed"]) == (chosen, False, False)
    assert machine.files() == before | {"state": None, "state/gpurun": None}


def test_a_machine_without_any(machine: Machine, gpurun: Cli) -> None:
    machine.only()
    _, said = gpurun.run("install", "--yes", status=2)
    assert "systemd: the user's systemd manager does not answer" in said
    assert "crontab: there is no crontab" in said
    assert "next: gpurun schedule daemon" in said
    assert "nothing of gpurun's" in gpurun.run("uninstall")[0]


def test_everything_is_shown_and_nobody_is_there_to_say_yes(machine: Machine, gpurun: Cli) -> None:
    machine.only("crontab")
    out, err = gpurun.run("install", status=2)
    assert "add --yes" in err
    assert not machine.table.exists()
    assert gpurun.run("install", "--dry-run")[0] == out
    gpurun.run("install", "--yes")
    (installed,) = machine.state.schedules.glob("run-due.*.sh")
    shown = [line.strip() for line in out.splitlines()]
    for line in [*installed.read_text().splitlines(), *machine.table.read_text().splitlines()]:
        assert line.strip() in shown
    assert "crontab -" in shown


@pytest.mark.parametrize("answer", ["y", "n"])
def test_somebody_is_asked(machine: Machine, gpurun: Cli, answer: str) -> None:
    machine.only("crontab")
    asked = pexpect.spawn(sys.executable, ["-m", "launcher.cli", "schedule", "install"], timeout=30, encoding="utf-8")
    asked.expect_exact("Install this?")
    assert not machine.table.exists()
    asked.sendline(answer)
    asked.expect_exact("installed, read back and seen" if answer == "y" else "nothing was done")
    asked.expect(pexpect.EOF)
    asked.close()
    assert machine.table.exists() == (answer == "y")


@pytest.mark.parametrize("wrong", [("--every", "0"), ("--every", "5"), ("--with", "at"), ("--with", "launchd")])
def test_wrong_wishes(machine: Machine, gpurun: Cli, wrong: tuple[str, ...]) -> None:
    machine.only("crontab")
    _, said = gpurun.run("install", "--yes", *wrong, status=2)
    assert "next: " in said
    assert not machine.table.exists()


def test_what_goes_along_and_what_does_not(machine: Machine, gpurun: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.only("crontab")
    add(gpurun, machine, monkeypatch)
    monkeypatch.setenv("WANDB_API_KEY", "w")
    Path("job.yaml").write_text("name: tiny\nrun: sh train.sh\nsecrets: WANDB_API_KEY\n")
    given = {
        "AWS_ACCESS_KEY_ID": "AKIAsecret1",
        "AWS_SECRET_ACCESS_KEY": "secret2",
        "AWS_SESSION_TOKEN": "secret3",
        "AWS_REGION": "eu-west-1",
        "AWS_CONFIG_FILE": "conf",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "HTTPS_PROXY": "http://me:secret4@proxy",
        "http_proxy": "http://proxy",
        "GPURUN_WEIGHTS": "weights",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    told = gpurun.json("install", "--dry-run")
    (file,) = told["files"]
    text = file["text"]
    assert "secret" not in text
    assert "export AWS_REGION=eu-west-1\n" in text
    assert "export AWS_ENDPOINT_URL_S3=http://127.0.0.1:9\n" in text
    assert "export http_proxy=http://proxy\n" in text
    assert f"export AWS_CONFIG_FILE={Path.cwd()}/conf\n" in text
    assert f"export GPURUN_WEIGHTS={Path.cwd()}/weights\n" in text
    assert f"export XDG_STATE_HOME={machine.home}/state\n" in text
    warnings = "\n".join(told["warnings"])
    assert "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN: secrets are not written" in warnings
    assert "HTTPS_PROXY has a password in it" in warnings
    assert "wants WANDB_API_KEY of the environment" in warnings
    monkeypatch.setenv("AWS_PROFILE", "work")
    told = gpurun.json("install", "--dry-run")
    assert "AWS_SECRET_ACCESS_KEY" not in "\n".join(told["warnings"])
    assert "export AWS_PROFILE=work\n" in told["files"][0]["text"]


def test_one_from_a_cache_is_refused(machine: Machine, gpurun: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.only("crontab")
    monkeypatch.setattr(sys, "prefix", str(machine.home / ".cache" / "uv" / "archive-v0" / "x"))
    _, said = gpurun.run("install", "--yes", status=2)
    assert "will be gone one day" in said
    assert "uv tool install" in said
    monkeypatch.setattr(sys, "prefix", "/tmp/env")
    assert "which the system may empty" in gpurun.run("install", "--dry-run")[1]


def test_one_that_would_not_start_is_not_installed(
    machine: Machine, gpurun: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.only("crontab")
    gpurun.run("list")
    before = machine.files()
    monkeypatch.setattr(sys, "executable", str(machine.home / "bin" / "crontab"))  # whatever fails at once
    monkeypatch.setattr("launcher.schedule.timer.entry._importable", lambda _: True)
    assert "does not start without this terminal's environment" in gpurun.run("install", "--yes", status=2)[1]
    assert machine.files() == before


def test_a_home_that_cannot_be_written_to(machine: Machine, gpurun: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.only("systemd")
    (machine.config / "systemd").write_text("a file where a folder should be")
    gpurun.run("list")
    before = machine.files()
    _, said = gpurun.run("install", "--yes", status=2)
    assert f"cannot write {machine.config}/systemd" in said
    assert machine.files() == before


def test_a_state_folder_that_no_scheduler_can_be_told(
    machine: Machine, gpurun: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(machine.home / "two\nlines"))
    assert "no scheduler can be told" in gpurun.run("install", "--yes", status=2)[1]


def test_both_kinds(machine: Machine, gpurun: Cli) -> None:
    gpurun.run("install", "--yes", "--with", "crontab")
    assert (
        "line in the crontab, every minute, is there too; that is harmless"
        in (gpurun.run("install", "--yes", "--with", "systemd")[1])
    )
    assert gpurun.json("install", "--dry-run")["installed"]
    removed = gpurun.json("uninstall")["removed"]
    assert "the crontab" in removed
    assert str(machine.units / "gpurun-schedule.timer") in removed
    assert not machine.table.exists()


def test_the_entry_of_another_state_folder(machine: Machine, gpurun: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.only("crontab")
    first = machine.home / "state" / "gpurun"
    gpurun.run("install", "--yes")
    line = machine.table.read_text()
    monkeypatch.setenv("XDG_STATE_HOME", str(machine.home / "other"))
    add(gpurun, machine, monkeypatch)
    assert f"of another state folder: {first}" in gpurun.run("list")[0]
    out, err = gpurun.run("uninstall")
    assert "nothing of gpurun's is installed" in out
    assert f"XDG_STATE_HOME={first.parent} gpurun schedule uninstall" in err
    assert machine.table.read_text() == line
    assert f"keeps the time of {first}: nobody will" in gpurun.run("install", "--yes")[1]
    (only,) = machine.table.read_text().splitlines()
    assert str(machine.home / "other") in only
    script.path(machine.state, "crontab").unlink()
    monkeypatch.setenv("XDG_STATE_HOME", str(first.parent))
    gpurun.run("uninstall")  # what calls nothing goes, whoever asks
    assert not machine.table.exists()
