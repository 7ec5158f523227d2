"""Tampered, truncated and lost files; links where there should be none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from launcher.errors import WeightsError
from launcher.registry import reading
from launcher.registry.champion import Champion
from launcher.registry.difference import difference
from launcher.registry.registry import Registry
from launcher.registry.verify import verify
from tests.registry.conftest import NAME


def put(registry: Registry, sha256: str, data: bytes | None) -> None:
    """Lay other bytes where an object lies, as only an intruder would."""
    store = registry.store
    if hasattr(store, "_root"):
        path = Path(store.uri) / "objects" / sha256
        path.unlink()
        if data is not None:
            path.write_bytes(data)
        return
    key = {"Bucket": store._place.bucket, "Key": f"{store._prefix}objects/{sha256}"}
    store._aws.s3.put_object(**key, Body=data) if data is not None else store._aws.s3.delete_object(**key)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("flipped", r"expected sha256 [0-9a-f]{64}, found [0-9a-f]{64}"),
        ("cut off", r"expected \d+ bytes, found \d+"),
        ("longer", r"expected \d+ bytes, found more"),
        ("lost", "it is not there"),
    ],
)
def test_a_damaged_object_is_named_whoever_reads_it(registry, add, weights_file, tmp_path, kind, said):
    version = add(registry, 1)
    add(registry, 2)
    registry.promote(NAME, 1)
    file = version.files[0]
    data = bytearray(weights_file(1).read_bytes())
    data[len(data) // 2] ^= 1
    changed = {"flipped": data, "cut off": data[:-1], "longer": data + b"x", "lost": None}[kind]
    put(registry, file.sha256, None if changed is None else bytes(changed))
    fresh = Registry(registry.store)
    readers = (
        lambda: fresh.promote(NAME, 1),
        lambda: reading.fetch(fresh.store, version, file, tmp_path / "out"),
        lambda: reading.arrays(fresh.store, version, file),
        lambda: difference(fresh, version, fresh.version(NAME, 2)),
    )
    for read in readers:
        with pytest.raises(
            WeightsError, match=f"weights.npz of digits@1 cannot be trusted.*{file.sha256}.*{said}"
        ) as error:
            read()
        assert "gpurun weights verify digits" in error.value.hint
        assert "gpurun weights rollback digits" in error.value.hint
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
    found = verify(fresh, [NAME])
    assert found.versions == 1
    assert found.findings[0].about == "digits@1"
    # The run's own files put it back.
    add(registry, 1)
    assert verify(Registry(registry.store), [NAME]).findings == ()


def test_a_link_in_the_store_is_not_followed(local, add, tmp_path):
    version = add(local, 1)
    local.promote(NAME, 1)
    root = Path(local.store.uri)
    elsewhere = tmp_path / "elsewhere"
    for part in (f"{NAME}/versions/1.json", f"{NAME}/history/00000001.json", f"objects/{version.files[0].sha256}"):
        (root / part).rename(elsewhere)
        (root / part).symlink_to(elsewhere)
        with pytest.raises(WeightsError, match=r"symbolic link|not a plain file"):
            Registry(local.store).check(Registry(local.store).resolve("digits"))
        (root / part).unlink()
        elsewhere.rename(root / part)
    for part in (NAME, f"{NAME}/versions", "objects"):
        (root / part).rename(elsewhere)
        (root / part).symlink_to(elsewhere)
        with pytest.raises(WeightsError):
            Registry(local.store).check(Registry(local.store).resolve("digits"))
        (root / part).unlink()
        elsewhere.rename(root / part)
    Registry(local.store).check(Registry(local.store).resolve("digits"))


def test_an_address_that_is_a_folder_is_left_alone(local, add):
    add(local, 1)
    mine = Path(local.store.uri) / NAME / "champion"
    mine.mkdir()
    (mine / "mine.txt").touch()
    with pytest.raises(WeightsError, match="not the link that gpurun makes"):
        local.promote(NAME, 1)
    assert (mine / "mine.txt").exists()
    shutil.rmtree(mine)
    local.promote(NAME, 1)
    assert mine.is_symlink()


def test_a_file_behind_the_address_that_was_altered_is_found_and_made_again(local, add):
    add(local, 1)
    local.promote(NAME, 1)
    release = Path(local.store.uri) / NAME / "releases" / "1"
    (release / "weights.npz").unlink()
    (release / "weights.npz").write_bytes(b"other")
    (finding,) = verify(local, [NAME]).findings
    assert "releases/1/weights.npz is not weights.npz of digits@1" in finding.problem
    shutil.rmtree(release)
    assert verify(local, [NAME]).findings == ()


def test_a_hole_in_the_history_is_told(registry, add):
    for value in (1, 2, 3):
        add(registry, value)
        registry.promote(NAME, value)
    store = registry.store
    if hasattr(store, "_root"):
        (Path(store.uri) / NAME / "history" / "00000002.json").unlink()
    else:
        store._aws.s3.delete_object(Bucket=store._place.bucket, Key=f"{store._prefix}{NAME}/history/00000002.json")
    with pytest.raises(WeightsError, match=r"00000002\.json is missing: the log of digits has a hole"):
        Registry(store).resolve("digits")
    assert verify(Registry(store), [NAME]).findings[0].about == NAME


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written_to(local, weights_file):
    Path(local.store.uri).mkdir(mode=0o500)
    with pytest.raises(WeightsError, match="cannot write to the weights store"):
        local.add(NAME, {"weights.npz": weights_file()})


def test_a_file_where_the_store_should_be(tmp_path, weights_file):
    from launcher.registry.folder import Folder

    (tmp_path / "weights").touch()
    with pytest.raises(WeightsError, match="the weights store"):
        Registry(Folder(tmp_path / "weights")).add(NAME, {"weights.npz": weights_file()})


def test_a_disk_without_hard_links_is_refused(local, weights_file, monkeypatch):
    def no_links(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(WeightsError, match="no hard links, without which two promotions could both win"):
        local.add(NAME, {"weights.npz": weights_file()})


def test_the_loader_refuses_damage_too(local, add):
    version = add(local, 1)
    local.promote(NAME, 1)
    put(local, version.files[0].sha256, b"other")
    with pytest.raises(WeightsError, match="cannot be trusted"):
        Champion(NAME, local.store.uri).read()
