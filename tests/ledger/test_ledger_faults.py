"""A file that cannot be used is told in plain words, and an older one is brought up to date."""

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from launcher.domain import RunStatus
from launcher.errors import LedgerError
from launcher.ledger import Ledger
from launcher.ledger.schema import MIGRATIONS


def raw(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def test_the_folder_is_private_and_so_is_the_file(path):
    with Ledger.open(path):
        pass
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_open_folder_is_closed_to_others(path):
    path.parent.mkdir(mode=0o755)
    with Ledger.open(path):
        pass
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_shared_folder_such_as_tmp_is_left_alone(path):
    path.parent.mkdir()
    path.parent.chmod(0o1777)
    with Ledger.open(path):
        pass
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o1777


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4096])
def test_a_damaged_file_is_told_with_the_way_out(path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(LedgerError, match="damaged") as caught:
        Ledger.open(path)
    assert f"mv {path}" in caught.value.hint
    assert "gpurun gc" in caught.value.hint
    assert path.read_bytes() == content


def test_damage_found_later_is_told_too(path, make_run):
    with Ledger.open(path) as ledger:
        for number in range(200):
            ledger.create(make_run(f"run-{number}"))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    with pytest.raises(LedgerError, match="damaged"), Ledger.open(path) as ledger:
        ledger.list()


def test_a_newer_file_is_left_alone(path):
    with Ledger.open(path):
        pass
    connection = raw(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LedgerError, match=r"newer gpurun.*99") as caught:
        Ledger.open(path)
    assert "upgrade" in caught.value.hint


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path):
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(LedgerError, match="state folder") as caught:
        Ledger.open(tmp_path / "state" / "ledger.db")
    assert "XDG_STATE_HOME" in caught.value.hint


def test_a_folder_that_may_not_be_written_is_told():
    me = os.geteuid()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        if me == 0:  # root may write anywhere: be somebody else for a moment
            os.seteuid(65534)
        try:
            with pytest.raises(LedgerError, match="cannot") as caught:
                Ledger.open(Path(folder) / "state" / "ledger.db")
        finally:
            os.seteuid(me)
            Path(folder).chmod(0o700)
    assert "XDG_STATE_HOME" in caught.value.hint


def test_a_file_of_version_1_is_brought_up_to_date_with_its_rows(path, make_run):
    path.parent.mkdir()
    connection = raw(path)
    connection.executescript(MIGRATIONS[0] + "PRAGMA user_version = 1;")
    connection.execute(
        "INSERT INTO runs (run_id, name, status, created_at, updated_at, account, region, spec, results_dir, token,"
        " reason, detached) VALUES ('old-1', 'old', 'running', '2026-01-01T00:00:00.000000+00:00',"
        " '2026-01-01T00:00:00.000000+00:00', '{}', 'us-east-1', '{}', 'runs/x', 't', '', 0)"
    )
    connection.close()
    with Ledger.open(path) as ledger:
        assert ledger.resolve("old").status == "running"
        ledger.cache.put("key", "of version 2")
        ledger.create(make_run())
    assert raw_version(path) == len(MIGRATIONS)


def raw_version(path: Path) -> int:
    connection = raw(path)
    try:
        return connection.execute("PRAGMA user_version").fetchone()[0]
    finally:
        connection.close()


def test_a_migration_that_fails_leaves_the_old_version(path, monkeypatch):
    with Ledger.open(path):
        pass
    before = raw_version(path)
    monkeypatch.setattr("launcher.ledger.database.MIGRATIONS", (*MIGRATIONS, "CREATE TABLE more (a TEXT); BROKEN;"))
    with pytest.raises(LedgerError):
        Ledger.open(path)
    assert raw_version(path) == before
    connection = raw(path)
    assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'more'").fetchone() == (0,)
    connection.close()


def test_a_transaction_that_raises_leaves_nothing(ledger, make_run):
    run = make_run()
    ledger.create(run)
    broken = {"reason": "half done", "exit_status": object()}
    with pytest.raises(LedgerError):
        ledger.advance(run.run_id, RunStatus.PROVISIONING, **broken)
    assert ledger.get(run.run_id) == run


def test_importing_it_loads_nothing_heavy():
    heavy = {"boto3", "botocore", "paramiko", "pydantic", "rich", "numpy", "typer", "ruamel", "difflib", "asyncio"}
    code = f"import sys, launcher.ledger; print(sorted({heavy!r} & set(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_an_existing_ledger_opens_within_five_milliseconds(path, make_run):
    with Ledger.open(path) as ledger:
        for number in range(50):
            ledger.create(make_run(f"run-{number}"))
    times_s = []
    for _ in range(20):
        begun = time.process_time()
        Ledger.open(path).close()
        times_s.append(time.process_time() - begun)
    assert min(times_s) < 0.005
