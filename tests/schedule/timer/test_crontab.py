"""A user's crontab with a line of ours: nothing else changes, and cron's shell starts exactly what is meant."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.schedule.timer import crontab
from tests.schedule.timer.conftest import Cli, Machine

PRINTS = "import json,os,sys; print(json.dumps([os.fsencode(each).hex() for each in sys.argv[1:]]))"
LINE = crontab.line_for(Path("/s/schedules/run-due.crontab.sh"), 1)
tables = st.lists(
    st.one_of(st.binary(max_size=20), st.sampled_from([b"\n", b"\r\n", b"* * * * * x %y\n", b"# a", b"A='b\"\n"])),
    max_size=12,
).map(b"".join)
paths = st.text(st.characters(blacklist_categories=("C", "Z"), whitelist_characters=" %'\"\\$`!#&;*~"), min_size=1)


def cron_would_run(line: bytes, *, strips: bool) -> bytes:
    """The command of a line (crontab(5)): cut at the first bare %, with \\% for %, which some crons leave as it is."""
    command = re.fullmatch(rb"(?:\S+ ){5}(.*)", line, re.DOTALL)[1]
    kept, at = b"", 0
    while at < len(command):
        if command[at : at + 1] == b"\\" and at + 1 < len(command):
            kept += b"%" if command[at + 1 : at + 2] == b"%" and strips else command[at : at + 2]
            at += 2
        elif command[at : at + 1] == b"%":
            break
        else:
            kept += command[at : at + 1]
            at += 1
    return kept


@given(path=paths, strips=st.booleans())
@settings(max_examples=80, deadline=None)
def test_crons_shell_gets_the_path_to_the_byte(path: str, strips: bool) -> None:
    line = crontab.line_for(Path("/x") / path, 1)
    command = cron_would_run(line, strips=strips)
    assert command.startswith(b"/bin/sh ")
    printer = os.fsencode(f"{sys.executable} -ISc '{PRINTS}' ")
    done = subprocess.run(["/bin/sh", "-c", command.replace(b"/bin/sh ", printer, 1)], capture_output=True, check=True)
    assert [bytes.fromhex(each) for each in json.loads(done.stdout)] == [os.fsencode(str(Path("/x") / path))]
    assert crontab._words(line)[-1] == str(Path("/x") / path)


@given(table=tables)
def test_other_lines_survive_to_the_byte(table: bytes) -> None:
    with_it = crontab.with_line(table, LINE)
    assert with_it == LINE + b"\n" + table
    assert crontab.with_line(with_it, LINE) == with_it
    assert crontab.without(with_it) == table
    assert crontab.without(table) == table


@given(before=tables.map(lambda each: each + b"\n"), after=tables, again=st.booleans())
def test_a_line_that_was_moved_is_replaced_where_it_is(before: bytes, after: bytes, again: bool) -> None:
    moved = before + LINE + b"\n" + after + (b"\n" + LINE if again else b"")
    new = crontab.line_for(Path("/t/schedules/run-due.crontab.sh"), 3)
    assert crontab.with_line(moved, new) == before + new + b"\n" + after + (b"\n" if again else b"")
    assert crontab.without(moved) == before + after + (b"\n" if again else b"")


@pytest.mark.parametrize("shows", ["plain", "escaped"])
@pytest.mark.parametrize(
    "table",
    [None, b"0 5 * * 1 tar c%d\n", b'# \xff\r\n\r\nMAILTO=""\r\n', b"# a\bb \\r \\b\n", b"* * * * * no-end"],
)
def test_a_life(machine: Machine, gpurun: Cli, table: bytes | None, shows: str) -> None:
    machine.only("crontab")
    if shows == "plain":
        machine.note("plain")
    if table is not None:
        machine.table.write_bytes(table)
        if not table.endswith(b"\n"):
            machine.note("lenient")
    before = machine.files()
    told = gpurun.json("install", "--yes")
    assert (told["with"], told["installed"], told["changed"], told["state"]) == (
        "crontab",
        True,
        True,
        str(machine.state.home),
    )
    assert machine.table.read_bytes() == told["line"].encode() + b"\n" + (table or b"")
    (script,) = told["files"]
    assert Path(script["path"]).read_text() == script["text"]
    machine.calls()
    again = gpurun.json("install", "--yes")
    assert (again["installed"], again["changed"]) == (True, False)
    assert "crontab -" not in machine.calls()
    slower = gpurun.json("install", "--yes", "--every", "3")
    assert slower["line"].startswith("*/3 * * * * /bin/sh ")
    assert machine.table.read_bytes() == slower["line"].encode() + b"\n" + (table or b"")
    assert "the crontab" in gpurun.json("uninstall")["removed"]
    assert {name: content for name, content in machine.files().items() if not name.startswith("state")} == before
    assert not list(machine.state.schedules.glob("run-due.*.sh"))
    assert gpurun.json("uninstall")["removed"] == []


def test_a_crontab_that_cannot_be_read_is_not_written(machine: Machine, gpurun: Cli) -> None:
    machine.only("crontab")
    machine.note("refuses")
    _, said = gpurun.run("install", "--yes", "--with", "crontab", status=2)
    assert "You (me) are not allowed" in said
    _, said = gpurun.run("install", "--yes", status=2)
    assert "this machine has no scheduler that could be used" in said
    assert "not allowed" in gpurun.run("uninstall")[1]
    assert "nobody keeps the time" not in gpurun.run("list")[0]  # there is nothing to keep it for


@pytest.mark.parametrize("table", [None, b"0 5 * * 1 mine\n"])
@pytest.mark.parametrize("fault", ["garbles", "-"])
def test_a_write_that_fails_leaves_all_as_it_was(
    machine: Machine, gpurun: Cli, table: bytes | None, fault: str
) -> None:
    machine.only("crontab")
    if table:
        machine.table.write_bytes(table)
    gpurun.run("list")
    machine.note("garbles") if fault == "garbles" else machine.fails("-")
    before = machine.files()
    _, said = gpurun.run("install", "--yes", status=2)
    assert "put back" in said if fault == "garbles" else "`crontab -` failed" in said
    assert machine.files() == before


def test_a_path_that_cron_would_cut_off(machine: Machine, gpurun: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.only("crontab")
    monkeypatch.setenv("XDG_STATE_HOME", str(machine.home.joinpath(*["x" * 200] * 5)))
    assert "cron reads 990" in gpurun.run("install", "--yes", status=2)[1]
    assert not machine.table.exists()
