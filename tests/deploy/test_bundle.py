"""Archives that are named after their content, and the very code that unpacks them on a machine."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from launcher import __version__
from launcher.aws.durable.place import Place
from launcher.deploy import boot, bundle
from launcher.sync.local import ignore, tree

ODD = ["a b", "-rf", "quote'\"$(x)", "line\nbreak", "ünïcode", "x" * 150, os.fsdecode(b"bad-\xff-name"), "#1", "*"]


def scan(folder: Path) -> tree.Scan:
    return tree.scan(folder, ignore=ignore.rules(folder))


def project(folder: Path) -> Path:
    """Folders, an empty one among them, odd names, a program, links."""
    (folder / "lib/deep").mkdir(parents=True)
    (folder / "empty").mkdir()
    for name in ODD:
        (folder / "lib" / name).write_text(f"this is {name!r}")
    (folder / "train.py").write_text("print('hello')\n")
    (folder / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (folder / "run.sh").chmod(0o700)
    (folder / "lib/deep/up").symlink_to("../../train.py")
    (folder / "shortcut").symlink_to("lib/deep")
    (folder / "big").write_bytes(bytes(range(256)) * 1000)
    return folder


def shown(folder: Path) -> dict[str, object]:
    """What a folder holds: name, and content, target or nothing."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_dir():
            found[name] = "folder"
        else:
            found[name] = (path.read_bytes(), bool(path.stat().st_mode & stat.S_IXUSR))
    return found


def pack_all(folder: Path, code: Path, data: Path | None = None) -> list[bundle.Pack]:
    folder.mkdir()
    work = bundle.work(folder, scan(code), {"spec.json": b"{}", "deployed.json": b'{"a": 1}'})
    return [bundle.program(folder), work, *([bundle.data(folder, scan(data))] if data else [])]


def fetch(
    folder: Path, packs: dict[str, tuple[str, str]], bucket: str, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """What a machine's boot command runs, in its folder."""
    folder.mkdir(exist_ok=True)
    told = json.dumps({"bucket": bucket, "packs": packs, "environment": environment})
    return subprocess.run(
        [sys.executable, "-c", boot._FETCH, told],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def sent(aws, bucket, tmp_path):
    """Archives that lie in S3, by name: key and sha256."""

    def send(packs: list[bundle.Pack]) -> dict[str, tuple[str, str]]:
        place = Place(bucket=bucket, prefix="team", region="us-east-1")
        for pack in packs:
            assert bundle.send(aws, place, "team/.schedules/digits/", pack, lambda _: None)
            assert not bundle.send(aws, place, "team/.schedules/digits/", pack, lambda _: None)
        return {pack.name: (f"team/.schedules/digits/{pack.file_name}", pack.sha256) for pack in packs}

    return send


def test_the_same_content_gives_the_same_bytes(tmp_path):
    one = project(tmp_path / "one")
    first = pack_all(tmp_path / "first", one, one)
    before = os.umask(0o077)
    try:
        two = tmp_path / "two"
        two.mkdir()
        for path in sorted(one.rglob("*"), reverse=True):  # made in another order, at another time
            there = two / path.relative_to(one)
            there.parent.mkdir(parents=True, exist_ok=True)
            if path.is_symlink():
                there.symlink_to(path.readlink())
            elif path.is_dir():
                there.mkdir(exist_ok=True)
            else:
                there.write_bytes(path.read_bytes())
                os.utime(there, (1, 1))
        (two / "run.sh").chmod(0o755)
        (two / "train.py").chmod(0o640)
        second = pack_all(tmp_path / "second", two, two)
    finally:
        os.umask(before)
    assert [(pack.name, pack.sha256) for pack in first] == [(pack.name, pack.sha256) for pack in second]
    assert [pack.path.read_bytes() for pack in first] == [pack.path.read_bytes() for pack in second]
    assert str(tmp_path).encode() not in first[0].path.read_bytes()
    (two / "train.py").write_text("print('other')\n")
    third = pack_all(tmp_path / "third", two, two)
    assert third[0].sha256 == first[0].sha256
    assert third[1].file_name != first[1].file_name


def test_a_machine_unpacks_what_was_packed_and_the_program_runs(sent, bucket, tmp_path, key_of_ours):
    code = project(tmp_path / "code")
    packs = sent(pack_all(tmp_path / "packed", code, code))
    here = tmp_path / "machine"
    done = fetch(here, packs, bucket, key_of_ours)
    assert done.returncode == 0, done.stderr
    assert shown(here / "work/code") == shown(code) == shown(here / "data")
    assert (here / "work/deployed.json").read_text() == '{"a": 1}'
    assert not list(here.glob("*.gz"))
    told = subprocess.run(
        ["sh", "-c", '. ./environment; printf "%s" "$AWS_ENDPOINT_URL"'],
        cwd=here,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == key_of_ours["AWS_ENDPOINT_URL"]
    shim = f"import launcher; assert launcher.__file__.startswith({str(here)!r}), launcher.__file__"
    for command in (["-c", shim], ["-m", "launcher.cli", "--version"]):
        done = subprocess.run(
            [sys.executable, "-P", *command],
            cwd=here,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(here / "program"), "HOME": str(here)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert __version__ in done.stdout


def test_a_single_file_of_data(sent, bucket, tmp_path, key_of_ours):
    (tmp_path / "lonely").mkdir()
    rows = tmp_path / "lonely/rows.csv"
    rows.write_text("1,2\n")
    (tmp_path / "lonely/not-this").write_text("")
    done = fetch(tmp_path / "machine", sent([bundle.data(tmp_path, scan(rows))]), bucket, key_of_ours)
    assert done.returncode == 0, done.stderr
    assert shown(tmp_path / "machine/data") == {"rows.csv": (b"1,2\n", False)}


def test_folders_that_hold_nothing(sent, bucket, tmp_path, key_of_ours):
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    done = fetch(tmp_path / "machine", sent(pack_all(tmp_path / "p", nothing, nothing)), bucket, key_of_ours)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "machine" / "data").is_dir()
    assert (tmp_path / "machine" / "work" / "code").is_dir()


def test_what_was_tampered_with_is_refused(sent, bucket, tmp_path, aws, key_of_ours):
    (tmp_path / "lonely").mkdir()
    (tmp_path / "lonely/rows.csv").write_text("1,2\n")
    packs = sent([bundle.data(tmp_path, scan(tmp_path / "lonely"))])
    (tmp_path / "lonely/rows.csv").write_text("6,6\n")
    key, _ = packs["data"]
    evil = bundle.data(tmp_path, scan(tmp_path / "lonely"))
    aws.s3.put_object(Bucket=bucket, Key=key, Body=evil.path.read_bytes())
    done = fetch(tmp_path / "machine", packs, bucket, key_of_ours)
    assert done.returncode != 0
    assert "is not what was deployed" in done.stderr
    assert not (tmp_path / "machine/data").exists()
    assert not (tmp_path / "machine/environment").exists()


def test_what_is_not_there_is_told(bucket, tmp_path, key_of_ours):
    done = fetch(tmp_path / "machine", {"data": ("gone.tar.gz", "0" * 64)}, bucket, key_of_ours)
    assert done.returncode != 0
    assert "404" in done.stderr


def test_half_an_archive_is_sent_again(aws, bucket, tmp_path):
    (tmp_path / "lonely").mkdir()
    (tmp_path / "lonely/rows.csv").write_text("1,2\n")
    pack = bundle.data(tmp_path, scan(tmp_path / "lonely"))
    place = Place(bucket=bucket, prefix="team", region="us-east-1")
    aws.s3.put_object(Bucket=bucket, Key=f"x/{pack.file_name}", Body=pack.path.read_bytes()[:-1])
    told: list[int] = []
    assert bundle.send(aws, place, "x/", pack, told.append)
    assert sum(told) == pack.size_bytes
