"""Units of systemd: what its parser makes of them, and an installation that fails in the middle."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.paths import StatePaths
from launcher.schedule.timer import systemd
from launcher.schedule.timer.entry import Entry
from tests.schedule.timer.conftest import Cli, Machine

printable = st.text(st.characters(blacklist_categories=("C", "Z"), whitelist_characters=" %'\"\\$;{}@n"), min_size=1)
SYSTEMD_ANALYZE = shutil.which("systemd-analyze")


def systemd_would_start(line: str) -> list[str]:
    """ExecStart= as systemd.service(5) and systemd.syntax(7) have it: words and quotes, specifiers, variables."""
    words, word, quote, at = [], None, "", 0
    while at < len(line):
        char = line[at]
        if char == "\\":
            at += 1
            word = (word or "") + {"n": "\n", "t": "\t", "s": " "}.get(line[at], line[at])
        elif quote:
            if char == quote:
                quote = ""
            else:
                word = (word or "") + char
        elif char in "\"'" and word is None:
            quote, word = char, ""
        elif char == " ":
            words, word = words + ([word] if word is not None else []), None
        else:
            word = (word or "") + char
        at += 1
    assert not quote
    words += [word] if word is not None else []
    return [_variables(_specifiers(each)) for each in words]


def _specifiers(word: str) -> str:
    parts = word.split("%%")
    assert not any("%" in part for part in parts), "a specifier would be filled in"
    return "%".join(parts)


def _variables(word: str) -> str:
    parts = word.split("$$")
    assert not any("$" in part for part in parts), "a variable would be filled in"
    return "$".join(parts)


@given(argument=printable)
def test_systemd_starts_the_script_that_is_meant(argument: str) -> None:
    path = f"/a b/{argument}"
    assert systemd_would_start(f"/bin/sh {systemd.quoted(path)}") == ["/bin/sh", path]
    assert systemd.unquoted(systemd.quoted(path)[1:-1]) == path


@pytest.mark.skipif(SYSTEMD_ANALYZE is None, reason="no systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    entry = Entry(
        program=("/bin/true",),
        environment={},
        state=StatePaths(tmp_path / "st %n $HOME \"q\" 'x'"),
        every_min=3,
    )
    plan = systemd.Systemd(folder=tmp_path).plan(entry)
    for file in plan.files:
        file.path.write_bytes(file.content)
    names = [str(file.path) for file in plan.files]
    env = {"XDG_RUNTIME_DIR": str(tmp_path), "HOME": str(tmp_path), "PATH": os.defpath}
    verify = [SYSTEMD_ANALYZE, "--user", "verify", *names]
    done = subprocess.run(verify, capture_output=True, text=True, check=False, env=env)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_life(machine: Machine, gpurun: Cli) -> None:
    machine.only("systemd")
    gpurun.run("list")
    before = machine.files()
    out, err = gpurun.run("install", "--yes")
    assert "loginctl enable-linger" in err
    assert "undo: gpurun schedule uninstall" in out
    service = (machine.units / systemd.SERVICE).read_text()
    script = machine.state.schedules / "run-due.systemd.sh"
    assert f'ExecStart=/bin/sh "{script}"' in service
    assert "KillMode=process" in service
    assert "run-due.log" not in script.read_text()  # the journal has it
    machine.note("lingers")
    machine.calls()
    out, err = gpurun.run("install", "--yes")
    assert out.splitlines()[0] == "it is there already, to the byte; nothing is changed"
    # A checkout below a temporary folder is told of, whatever is changed.
    assert [line for line in err.splitlines() if "which the system may empty" not in line] == []
    assert not [call for call in machine.calls() if "restart" in call or "enable " in call]
    gpurun.run("install", "--yes", "--every", "2")
    assert "OnCalendar=*:0/2" in (machine.units / systemd.TIMER).read_text()
    assert [call.split()[2] for call in machine.calls() if "show" not in call and call.startswith("systemctl")] == [
        "daemon-reload",
        "enable",
        "restart",
    ]
    (machine.notes / "active").unlink()  # stopped by hand: it is not in force, whatever the files say
    assert gpurun.json("install", "--yes", "--every", "2")["changed"]
    gpurun.run("uninstall")
    machine.note("lingers", gone=True)
    left = {name for name, content in machine.files().items() if content is not None}
    assert left == {name for name, content in before.items() if content is not None}


@pytest.mark.parametrize("fault", ["enable", "restart", "daemon-reload", "elsewhere"])
def test_one_that_fails_half_way_is_taken_back(machine: Machine, gpurun: Cli, fault: str) -> None:
    machine.only("systemd")
    gpurun.run("list")
    before = machine.files()
    if fault == "elsewhere":  # the manager was started with another XDG_CONFIG_HOME
        machine.note(fault)
    else:
        machine.fails(fault)
    _, said = gpurun.run("install", "--yes", status=2)
    assert "not found" in said or "the test says so" in said
    machine.fails()
    (machine.notes / "elsewhere").unlink(missing_ok=True)
    left = machine.files()
    assert {name for name in left if left[name] is not None} == {name for name in before if before[name] is not None}
    assert not (machine.units / "timers.target.wants" / systemd.TIMER).is_symlink()
    gpurun.run("install", "--yes")


def test_one_that_was_there_is_there_again_after_a_failure(machine: Machine, gpurun: Cli) -> None:
    machine.only("systemd")
    gpurun.run("install", "--yes")
    before = machine.files()
    machine.fails("enable")
    gpurun.run("install", "--yes", "--every", "3", status=2)
    machine.fails()
    assert machine.files() == before
    assert not gpurun.json("install", "--yes")["changed"]


def test_units_of_somebody_else_stay(machine: Machine, gpurun: Cli) -> None:
    machine.only("systemd")
    machine.units.mkdir(parents=True)
    mine = machine.units / systemd.SERVICE
    mine.write_text("[Service]\nExecStart=/bin/true\n")
    assert "not of gpurun's making" in gpurun.run("install", "--yes", status=2)[1]
    assert gpurun.run("uninstall")[0].strip() == "nothing of gpurun's is installed"
    assert mine.read_text() == "[Service]\nExecStart=/bin/true\n"


def test_without_its_manager_the_files_still_go(machine: Machine, gpurun: Cli) -> None:
    machine.only("systemd")
    gpurun.run("install", "--yes")
    machine.note("down")
    gpurun.run("uninstall")
    assert [each.name for each in machine.units.rglob("*") if not each.is_dir()] == []
    _, said = gpurun.run("install", "--with", "systemd", "--yes", status=2)
    assert "does not answer: Failed to connect to bus" in said


def test_one_that_cannot_be_stopped_is_not_called_removed(machine: Machine, gpurun: Cli) -> None:
    machine.only("systemd")
    gpurun.run("install", "--yes")
    machine.fails("disable")
    out, said = gpurun.run("uninstall", status=2)
    assert "nothing" not in out
    assert "systemd is not removed whole: gpurun-schedule.timer cannot be stopped" in said
    assert (machine.units / systemd.TIMER).exists()
    machine.fails()
    gpurun.run("uninstall")
    assert not (machine.units / systemd.TIMER).exists()
