"""What a host's `sudo` makes of its arguments."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.sandbox.hosts.guest import sudo


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("-n id -u", ("root", {}, ["id", "-u"])),
        ("-u ubuntu id", ("ubuntu", {}, ["id"])),
        ("A=1 -E B=2 env C=3", ("root", {"A": "1", "B": "2"}, ["env", "C=3"])),
        ("-i", ("root", {}, ["/bin/sh"])),
        ("-i true", ("root", {}, ["true"])),
        ("-k true", ("root", {}, [])),
        ("-u", ("root", {}, [])),
        ("", ("root", {}, [])),
    ],
)
def test_options_are_not_the_commands(line, meant):
    assert sudo.parse(shlex.split(line)) == meant


@given(st.lists(st.text(), min_size=1))
def test_all_behind_two_dashes_is_the_command(words):
    assert sudo.parse(["-n", "--", *words]) == ("root", {}, words)


def test_its_script_takes_paths_with_blanks(tmp_path: Path) -> None:
    code = tmp_path / "guest code"
    (code / "guest").mkdir(parents=True)
    (code / "guest/sudo.py").write_text("import sys\ndef main(): print(sys.argv[1:])\n")
    script = tmp_path / "sudo"
    script.write_text(sudo.script(sys.executable, str(code)))
    told = subprocess.run(["sh", script, "-n", "a b", "*"], capture_output=True, text=True, check=True)
    assert told.stdout == "['-n', 'a b', '*']\n"
