"""What a registry promises, in a folder and in a bucket alike."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from launcher.errors import ChampionMoved, WeightsError
from launcher.registry import reading
from launcher.registry.difference import difference
from launcher.registry.history import Action, Stage
from launcher.registry.registry import Registry
from launcher.registry.verify import verify
from launcher.registry.version import About
from tests.registry.conftest import NAME


def content(registry: Registry, which: str) -> bytes:
    version = registry.resolve(which)
    with reading.opened(registry.store, version, version.files[0]) as path:
        return path.read_bytes()


def test_a_version_is_kept_with_its_pedigree(registry, weights_file):
    path = weights_file(1.5)
    made = registry.add(
        NAME,
        {"weights.npz": path},
        About(run_id="digits-1", spec={"name": "digits"}, metrics={"test_error": 0.1}, notes=("a note",)),
        diff=b"--- a\n+++ b\n",
    )
    found = Registry(registry.store).version(NAME, 1)
    assert found == made
    assert found.files[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.diff is not None
    assert reading.text(registry.store, found, found.diff) == "--- a\n+++ b\n"
    assert (reading.arrays(registry.store, found, found.files[0])["w"] == 1.5).all()
    assert registry.stage(found) is Stage.CHALLENGER


def test_promotion_and_rollback_lead_from_champion_to_champion(registry, add):
    for value in (1, 2, 3):
        add(registry, value)
    first = content(registry, "digits@1")
    assert registry.promote(NAME, 1).before is None
    assert registry.promote(NAME, 3, expected_champion=1).before == 1
    other = Registry(registry.store)
    assert [other.stage(version) for version in other.versions(NAME)] == [
        Stage.RETIRED,
        Stage.CHALLENGER,
        Stage.CHAMPION,
    ]
    assert other.rollback(NAME, why="worse in use").version.number == 1
    assert registry.resolve("digits").number == 1
    assert content(registry, "digits@champion") == first
    assert registry.store.pointed(NAME) == 1
    with pytest.raises(WeightsError, match="no champion before digits@1"):
        registry.rollback(NAME)
    assert [entry.action for entry in registry.history(NAME).entries] == [
        Action.PROMOTED,
        Action.PROMOTED,
        Action.ROLLED_BACK,
    ]


def test_a_champion_stays_one_without_another_line_in_the_history(registry, add):
    add(registry)
    registry.promote(NAME, 1)
    again = registry.promote(NAME, 1, expected_champion=7)
    assert (again.entry, registry.history(NAME).sequence) == (None, 1)


def test_a_promotion_against_another_champion_changes_nothing(registry, add):
    for value in (1, 2, 3):
        add(registry, value)
    registry.promote(NAME, 1, expected_champion=None)
    registry.promote(NAME, 2, expected_champion=1)
    with pytest.raises(ChampionMoved, match="compared with digits@1, and the champion is digits@2") as error:
        registry.promote(NAME, 3, expected_champion=1)
    assert "gpurun weights diff" in error.value.hint
    with pytest.raises(ChampionMoved):
        registry.promote(NAME, 3, expected_champion=None)
    assert (registry.history(NAME).champion, registry.history(NAME).sequence) == (2, 2)


def test_a_gate_s_refusal_is_remembered_and_leaves_a_challenger(registry, add):
    for value in (1, 2):
        add(registry, value)
    registry.promote(NAME, 1)
    registry.note(NAME, 2, Action.REFUSED, why="worse by 3%", details={"gain": -0.03})
    log = Registry(registry.store).history(NAME)
    assert (log.champion, log.stage(2), log.about(2)[0].why) == (1, Stage.CHALLENGER, "worse by 3%")
    assert log.about(2)[0].details == {"gain": -0.03}
    with pytest.raises(WeightsError, match="is the champion"):
        registry.note(NAME, 1, Action.RETIRED, why="old")


def test_the_same_run_again_is_the_version_that_it_has(registry, add):
    made = add(registry, 1, run_id="digits-x")
    assert add(registry, 1, run_id="digits-x") == made
    assert add(registry, 2, run_id="digits-x").number == 2
    assert add(registry, 1).number == 3
    assert add(registry, 1).number == 4


def test_equal_files_lie_there_once(registry, add):
    for _ in range(3):
        add(registry, 1)
    assert len(registry.store.objects()) == 1
    assert registry.numbers(NAME) == [1, 2, 3]


def test_what_is_not_weights_is_not_taken(registry, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was-run"),)

    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps({"w": np.zeros(2), "x": Evil()}))
    with pytest.raises(WeightsError, match=r"weights\.pkl: .*nothing of it was run"):
        registry.add(NAME, {"weights.pkl": path})
    assert not (tmp_path / "was-run").exists()
    assert registry.names() == []


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", ".hidden", "a\\b", "a\nb", "x/..", "", "c:d", "a/.b", "dot."])
def test_files_that_would_lead_elsewhere_are_refused(registry, weights_file, name):
    with pytest.raises(WeightsError, match="cannot be a file of a version"):
        registry.add(NAME, {name: weights_file()})


def test_asking_for_what_is_not_there_says_what_is(registry, add):
    with pytest.raises(WeightsError, match="no weights called digits"):
        registry.resolve("digits@1")
    add(registry)
    with pytest.raises(WeightsError, match="no champion yet") as error:
        registry.resolve("digits")
    assert error.value.hint == "gpurun weights promote digits@1"
    with pytest.raises(WeightsError, match="there is no digits@7") as error:
        registry.promote(NAME, 7)
    assert "the last is 1" in error.value.hint
    with pytest.raises(WeightsError, match="no weights called other") as error:
        registry.rollback("other")
    assert "it has digits" in error.value.hint


def test_a_parent_must_be_there(registry, add):
    add(registry)
    assert add(registry, 1, parent=1).about.parent == 1
    with pytest.raises(WeightsError, match="there is no digits@9"):
        add(registry, 2, parent=9)


def test_differences_are_of_metrics_spec_and_every_array(registry, add, weights_file):
    add(registry, 1.0, metrics={"test_error": 0.2, "net": {"layers": 2}}, spec={"name": "digits", "floatx": "float32"})
    add(registry, 1.25, metrics={"test_error": 0.1, "net": {"layers": 2}}, spec={"name": "digits", "floatx": "float16"})
    found = difference(registry, registry.resolve("digits@1"), registry.resolve("digits@2"))
    assert [(each.name, each.one, each.other) for each in found.metrics] == [("test_error", 0.2, 0.1)]
    assert [each.name for each in found.spec] == ["floatx"]
    assert {each.name: each.largest_relative for each in found.arrays} == {
        "weights.npz:b": pytest.approx(0.2),
        "weights.npz:w": pytest.approx(0.2),
    }
    same = difference(registry, registry.resolve("digits@1"), registry.resolve("digits@1"))
    assert (same.metrics, same.spec, [each.equal for each in same.arrays]) == ((), (), [True, True])


def test_verify_finds_all_well_and_mends_the_address(registry, add):
    for value in (1, 2):
        add(registry, value)
    registry.promote(NAME, 1)
    found = verify(registry, [NAME])
    assert (found.versions, found.findings, found.repointed) == (2, (), ())
    # A promotion whose writer died before it came to the address.
    log = registry.history(NAME)
    assert registry.append(NAME, registry.entry(log.end, Action.PROMOTED, (2,)))
    assert registry.store.pointed(NAME) == 1
    assert verify(registry, [NAME]).repointed == (NAME,)
    assert registry.store.pointed(NAME) == 2


def test_the_address_in_a_folder_shows_the_champion_s_files(local, add):
    for value in (1, 2):
        add(local, value)
    local.promote(NAME, 1)
    address = Path(local.store.uri) / NAME / "champion"
    held = address.resolve()
    assert (np.load(address / "weights.npz")["w"] == 1).all()
    local.promote(NAME, 2)
    assert (np.load(address / "weights.npz")["w"] == 2).all()
    assert (np.load(held / "weights.npz")["w"] == 1).all()
    assert {path.name for path in address.iterdir()} == {"weights.npz", "version.json"}
