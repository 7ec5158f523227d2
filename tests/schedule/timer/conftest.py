"""A machine whose crontab, systemctl, launchctl and loginctl are small programs that behave like the real ones."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from launcher import cli
from launcher.paths import StatePaths, state_home

HEAD = """#!{python} -IS
import pathlib, sys
home = pathlib.Path({home!r})
asked = sys.argv[1:]
with (home / "calls").open("a") as calls:
    calls.write(" ".join([pathlib.Path(sys.argv[0]).name, *asked]) + "\\n")

def fail(said, status=1):
    sys.stderr.write(said + "\\n")
    sys.exit(status)

def told(name):
    return (home / name).exists()

if any(word in asked for word in (home / "fails").read_text().split()):
    fail("Failed: the test says so")
"""
CRONTAB = """
table = home / "crontab.txt"
if told("refuses"):
    fail("You (me) are not allowed to use this program (crontab)")
if asked == ["-l"]:
    if not table.exists():
        fail("no crontab for me")
    shown = table.read_bytes()  # as Debian's shows it
    sys.stdout.buffer.write(shown.replace(b"\\r", b"\\\\r").replace(b"\\b", b"\\\\b") if not told("plain") else shown)
elif asked == ["-e"]:
    import os, subprocess
    copy = home / "crontab being edited"
    copy.write_bytes(table.read_bytes())
    subprocess.run(["/bin/sh", "-c", os.environ["VISUAL"] + " '" + str(copy) + "'"], check=True)
    assert copy.read_bytes() == table.read_bytes()
    copy.unlink()
elif asked == ["-"]:
    new = sys.stdin.buffer.read()
    if not new.endswith(b"\\n") and not told("lenient"):
        fail('"-": new crontab file is missing newline before EOF, can\\'t install.')
    if told("garbles") and b"run-due" in new:
        new = new.replace(b"/bin/sh", b"/bin/csh")
    table.write_bytes(new)
elif asked == ["-r"]:
    table.unlink()
else:
    fail("usage error")
"""
SYSTEMCTL = """
units = pathlib.Path({config!r}) / "systemd" / "user"
timer, link = units / "gpurun-schedule.timer", units / "timers.target.wants" / "gpurun-schedule.timer"
loaded, active = home / "loaded", home / "active"
if told("down") or asked[:1] != ["--user"]:
    fail("Failed to connect to bus: No medium found")
verb = asked[1]
if verb == "daemon-reload":
    loaded.unlink(missing_ok=True)
    if timer.exists() and not told("elsewhere"):
        for unit in (timer, units / "gpurun-schedule.service"):
            text = unit.read_text()
            assert text.endswith("\\n") and "[Unit]" in text
        loaded.write_text(str(timer))
elif verb == "enable":
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(timer)
elif verb == "restart":
    if not loaded.exists():
        fail("Unit gpurun-schedule.timer not found.", 5)
    active.touch()
elif verb == "stop":
    active.unlink(missing_ok=True)
elif verb == "disable":
    link.unlink(missing_ok=True)
    active.unlink(missing_ok=True)
elif verb == "show" and asked[2] == "--property=Version":
    print("Version=252")
elif verb == "show":
    print("FragmentPath=" + (loaded.read_text() if loaded.exists() else ""))
    print("UnitFileState=" + ("enabled" if link.is_symlink() else "disabled"))
    print("ActiveState=" + ("active" if active.exists() else "inactive"))
else:
    fail("Unknown command verb " + verb)
"""
LAUNCHCTL = """
loaded = home / "agent"
if told("no-launchd"):
    fail("Could not find domain", 113)
if asked[0] == "print":
    if "/gpurun." in asked[1]:
        sys.exit(0 if loaded.exists() else 113)
    sys.exit(0 if asked[1].startswith("user/") or not told("no-screen") else 113)
elif asked[0] == "bootstrap":
    import plistlib
    if loaded.exists():
        fail("Bootstrap failed: 5: Input/output error", 5)
    agent = plistlib.loads(pathlib.Path(asked[2]).read_bytes())
    assert isinstance(agent["ProgramArguments"], list)
    loaded.write_text(asked[1])
elif asked[0] == "bootout":
    if not loaded.exists():
        fail("Boot-out failed: 3: No such process", 3)
    loaded.unlink()
"""
LOGINCTL = """
print("yes" if told("lingers") else "no")
"""


@dataclass
class Machine:
    """A user's home with those programs; `note` makes them behave badly."""

    home: Path

    @property
    def notes(self) -> Path:
        return self.home / "notes"

    @property
    def config(self) -> Path:
        return self.home / "config"

    @property
    def units(self) -> Path:
        return self.config / "systemd" / "user"

    @property
    def agents(self) -> Path:
        return self.home / "Library" / "LaunchAgents"

    @property
    def table(self) -> Path:
        return self.notes / "crontab.txt"

    @property
    def state(self) -> StatePaths:
        return StatePaths(state_home())

    def note(self, name: str, *, gone: bool = False) -> None:
        if gone:
            (self.notes / name).unlink()
        else:
            (self.notes / name).touch()

    def fails(self, *words: str) -> None:
        """Programs that are called with one of the words fail."""
        (self.notes / "fails").write_text(" ".join(words))

    def calls(self) -> list[str]:
        """What was run since the last time."""
        path = self.notes / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.write_text("")
        return lines

    def only(self, *kinds: str) -> None:
        """This machine has these schedulers that answer."""
        self.note("down", gone=False) if "systemd" not in kinds else (self.notes / "down").unlink(missing_ok=True)
        for kind, name in (("crontab", "crontab"), ("launchd", "launchctl")):
            if kind not in kinds:
                (self.home / "bin" / name).unlink(missing_ok=True)

    def files(self) -> dict[str, bytes | None]:
        """All that is there, apart from what the programs wrote down; folders have no content."""
        kept = {}
        for path in sorted(self.home.rglob("*")):
            name = str(path.relative_to(self.home))
            if name.startswith(("notes/calls", "state/gpurun/ledger.db", "state/gpurun/schedules/run-due.l")):
                continue
            kept[name] = path.read_bytes() if path.is_file() else None
        return kept


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Nothing but those programs is on PATH, so that no real scheduler is reached."""
    it = Machine(home=tmp_path / "me")
    for folder in (it.home / "bin", it.notes, it.config):
        folder.mkdir(parents=True)
    it.fails()
    programs = {"crontab": CRONTAB, "systemctl": SYSTEMCTL, "launchctl": LAUNCHCTL, "loginctl": LOGINCTL}
    for name, text in programs.items():
        path = it.home / "bin" / name
        head = HEAD.format(python=sys.executable, home=str(it.notes))
        path.write_text(head + text.replace("{config!r}", repr(str(it.config))))
        path.chmod(0o755)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("XDG_CACHE_HOME", "UV_CACHE_DIR", "PIP_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(it.home))
    monkeypatch.setenv("PATH", str(it.home / "bin"))
    monkeypatch.setenv("XDG_STATE_HOME", str(it.home / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(it.config))
    assert shutil.which("crontab") == str(it.home / "bin" / "crontab")
    return it


@dataclass
class Cli:
    """`gpurun schedule`, called in this process."""

    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str, status: int = 0) -> tuple[str, str]:
        self.capsys.readouterr()
        ended = cli.run(["schedule", *arguments])
        said = self.capsys.readouterr()
        assert ended == status, said.err or said.out
        return said.out, said.err

    def json(self, *arguments: str) -> Any:
        return json.loads(self.run(*arguments, "--json")[0])


@pytest.fixture
def gpurun(capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(capsys)
