"""An agent of launchd."""

from __future__ import annotations

import os
import plistlib

import pytest

from tests.schedule.timer.conftest import Cli, Machine


@pytest.mark.parametrize("screen", [True, False])
def test_a_life(machine: Machine, gpurun: Cli, monkeypatch: pytest.MonkeyPatch, screen: bool) -> None:
    machine.only("launchd")
    monkeypatch.setenv("XDG_STATE_HOME", str(machine.home / "st&te <x> é"))
    if not screen:
        machine.note("no-screen")
    told = gpurun.json("install", "--yes", "--with", "launchd")
    plist = machine.agents / "gpurun.schedule.plist"
    agent = plistlib.loads(plist.read_bytes())
    assert agent["ProgramArguments"] == ["/bin/sh", str(machine.state.schedules / "run-due.launchd.sh")]
    assert (agent["StartInterval"], agent["AbandonProcessGroup"]) == (60, True)
    domain = f"{'gui' if screen else 'user'}/{os.getuid()}"
    assert told["commands"] == [["launchctl", "bootstrap", domain, str(plist)]]
    assert (machine.notes / "agent").read_text() == domain
    assert not gpurun.json("install", "--yes", "--with", "launchd")["changed"]
    assert gpurun.json("install", "--yes", "--with", "launchd", "--every", "4")["changed"]
    assert plistlib.loads(plist.read_bytes())["StartInterval"] == 240
    gpurun.run("uninstall")
    assert not plist.exists()
    assert not (machine.notes / "agent").exists()


def test_one_that_is_not_taken_is_taken_back(machine: Machine, gpurun: Cli) -> None:
    gpurun.run("install", "--yes", "--with", "launchd")
    before = machine.files()
    machine.fails("bootstrap")
    assert "the test says so" in gpurun.run("install", "--yes", "--with", "launchd", "--every", "2", status=2)[1]
    machine.fails()
    after = machine.files()
    assert after.pop("notes/fails") == b""
    before.pop("notes/fails")
    before.pop("notes/agent")  # the program that failed once failed again
    assert after == before
    gpurun.run("uninstall")
    assert not machine.agents.exists() or list(machine.agents.iterdir()) == []


def test_one_that_stays_loaded_is_not_called_removed(machine: Machine, gpurun: Cli) -> None:
    gpurun.run("install", "--yes", "--with", "launchd")
    machine.fails("bootout")
    assert "launchd keeps gpurun.schedule" in gpurun.run("uninstall", status=2)[1]
    machine.fails()
    gpurun.run("uninstall")
    assert list(machine.agents.iterdir()) == []
