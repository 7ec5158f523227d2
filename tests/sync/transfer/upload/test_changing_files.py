"""Files that change, vanish or cannot be read while they are sent are told."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import SpecError, TransferError
from launcher.sync.layout import RemoteLayout
from launcher.sync.up import upload
from launcher.sync.up.reuse import find_reuse

from .pushing import MIB, fill, look, push, silent, tree


def test_what_changed_since_the_scan_is_sent_as_it_is_then(
    code: Path, lines: Any, layout: RemoteLayout, there: Path
) -> None:
    fill(
        code,
        {"a": b"1" * 500, "b": b"2" * 500, "c": b"3", "same size": b"4", "big": b"5" * MIB, "big gone": b"6" * MIB},
    )
    fill(code, {"sub/gone": b"7", "to link": b"8", "to folder": b"9", "still": b"0"})
    os.utime(code / "same size", ns=(5, 5))
    scanned = look(code)
    fill(code, {"a": b"longer " * 500, "b": b"short", "same size": b"5", "big": b"6" * (MIB + 1)})
    for name in ("c", "big gone", "to link", "to folder"):
        (code / name).unlink()
    shutil.rmtree(code / "sub")
    (code / "to link").symlink_to("still")
    (code / "to folder").mkdir()
    sent = upload.push(lines, scanned, layout.code, silent, "code")
    changed = {"a", "b", "c", "same size", "big", "big gone", "sub/gone", "to link", "to folder"}
    assert set(sent.changed) == changed
    # What is no file any more is no part of the upload; its folder was, when it was looked at.
    expected = {name: tree(code)[name] for name in ("a", "b", "same size", "big", "still")}
    assert tree(there) == {**expected, "sub": "folder"}
    (code / "sub").mkdir()
    push(lines, code, layout.code)
    assert tree(there) == tree(code)


def test_what_vanished_is_told_also_where_much_is_there(
    code: Path, lines: Any, layout: RemoteLayout, there: Path
) -> None:
    fill(code, {"big": os.urandom(2 * MIB), "small": os.urandom(5000), "twin": os.urandom(MIB), "still": b"0"})
    push(lines, code, layout.code)
    for name in ("big", "small", "twin"):
        os.utime(code / name)
    shutil.copyfile(code / "twin", code / "twin 2")
    scanned = look(code)
    for name in ("big", "small", "twin", "twin 2"):
        (code / name).unlink()
    sent = upload.push(lines, scanned, layout.code, silent, "code")
    assert set(sent.changed) == {"big", "small", "twin", "twin 2"}
    assert tree(there) == tree(code)


def writes_between_look_and_read(path: Path, monkeypatch: pytest.MonkeyPatch, *, times: int) -> None:
    """Another thread appends to a file each time that it is known how it is to be sent."""
    looked = find_reuse
    left = iter(range(times))

    def append() -> None:
        with path.open("ab") as file:
            file.write(b"more")

    def found(*arguments: Any) -> Any:
        reuse = looked(*arguments)
        if next(left, None) is not None:
            thread = threading.Thread(target=append)
            thread.start()
            thread.join()
        return reuse

    monkeypatch.setattr(upload, "find_reuse", found)


@pytest.mark.parametrize("size", [100_000, 5 * MIB])
def test_a_file_that_grows_while_it_is_read_is_told(
    code: Path, lines: Any, layout: RemoteLayout, there: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    fill(code, {"log": os.urandom(size), "z": b"z"})
    (code / "z linked").hardlink_to(code / "log")
    push(lines, code, layout.code)
    fill(code, {"log": os.urandom(size)})  # and so what is linked to it; as long as what lies there
    scanned = look(code)
    writes_between_look_and_read(code / "log", monkeypatch, times=1)
    sent = upload.push(lines, scanned, layout.code, silent, "code")
    assert sent.changed == ("log",)
    assert tree(there) == tree(code)


@pytest.mark.parametrize("size", [100_000, 5 * MIB])
def test_a_file_that_never_holds_still_is_told(
    code: Path, lines: Any, layout: RemoteLayout, there: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    fill(code, {"busy.log": os.urandom(size), "other": b"1"})
    scanned = look(code)
    with monkeypatch.context() as patch:
        writes_between_look_and_read(code / "busy.log", patch, times=10)
        with pytest.raises(TransferError, match=r"busy\.log changes while it is read") as caught:
            upload.push(lines, scanned, layout.code, silent, "code")
    assert ".gpurunignore" in caught.value.hint
    assert not there.exists()
    push(lines, code, layout.code)
    assert tree(there) == tree(code)


@pytest.mark.parametrize("size", [10, 5000, 5 * MIB])
def test_a_file_that_cannot_be_read_is_told(
    code: Path, lines: Any, layout: RemoteLayout, there: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    fill(code, {"a": b"1" * size, "z": b"3"})
    push(lines, code, layout.code)
    before = tree(there)
    fill(code, {"a": b"2" * size, "secret": b"2" * size, "z": b"4"})
    scanned = look(code)
    (code / "secret").chmod(0)
    if os.geteuid() == 0:  # whom no mode stops
        original = os.open

        def open_but_one(path: Any, *arguments: Any, **named: Any) -> int:
            if str(path).endswith("/secret"):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
            return original(path, *arguments, **named)

        monkeypatch.setattr(os, "open", open_but_one)
    with pytest.raises(SpecError, match="secret cannot be read: Permission denied") as caught:
        upload.push(lines, scanned, layout.code, silent, "code")
    assert "chmod u+rX" in caught.value.hint
    assert tree(there) == before
