"""What is kept of a bug of ours: a private file for each, without the values that the job was given."""

import re
import stat
from pathlib import Path

import pytest

from launcher import crash


def fault(words: str) -> Exception:
    with pytest.raises(ValueError, match=re.escape(words)) as caught:
        raise ValueError(words)
    return caught.value


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def files() -> list[Path]:
        return sorted((tmp_path / "gpurun").glob("crash-*.txt"))

    return files


def test_each_crash_has_a_private_file_of_its_own(saved):
    told = [crash.report(fault(f"number {each}"), ["status"]) for each in range(3)]
    assert len(saved()) == 3
    assert {stat.S_IMODE(path.stat().st_mode) for path in saved()} == {0o600}
    for path in saved():
        (message,) = [each for each in told if str(path) in each]
        number = message.split("number ")[1][0]
        assert f"ValueError: number {number}" in path.read_text()


def test_the_values_of_env_are_hidden_wherever_they_stand(saved):
    arguments = ["launch", "--env", "TOKEN=s3cr3t=1", "--env=OTHER=hunter22", "--env", "ghp_bare", "--name", "A=b"]
    crash.report(fault("no TOKEN=s3cr3t=1 nor hunter22 nor ghp_bare"), arguments)
    text = saved()[0].read_text()
    for value in ("s3cr3t", "hunter22", "ghp_bare"):
        assert value not in text
    shown = "['launch', '--env', 'TOKEN=***', '--env=OTHER=***', '--env', '***', '--name', 'A=b']"
    assert shown in text
    assert "ValueError: no TOKEN=*** nor *** nor ***" in text


def test_a_short_value_does_not_blot_out_the_traceback(saved):
    crash.report(fault("1 of 1"), ["launch", "--env", "N=1"])
    assert "'N=***'" in saved()[0].read_text()
    assert "ValueError: 1 of 1" in saved()[0].read_text()


def test_where_nothing_can_be_saved_the_traceback_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert "ValueError: words" in crash.report(fault("words"), [])
