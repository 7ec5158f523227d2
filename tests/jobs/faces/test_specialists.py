"""Key points, their specialists and expressions, on nets of a few units."""

from __future__ import annotations

import csv
import json
import pickle
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from jobs.augment.key_points import in_mirror
from jobs.config import resolve
from jobs.datasets import key_points
from jobs.datasets.dataset import Dataset
from jobs.errors import JobError
from jobs.models import key_point_specialists
from jobs.models.key_point_specialists import GROUPS, groups
from tests.once import Once

pytestmark = pytest.mark.timeout(600)  # of trainings, on a machine that may be busy
PROGRAM = Path(__file__).with_name("session.py")


@dataclass(frozen=True)
class Session:
    folder: Path
    told: dict
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def session(jobs_in, once: Once) -> Session:
    def make(folder: Path) -> Session:
        done = jobs_in(folder).run(program=(str(PROGRAM), str(folder)))
        assert done.returncode == 0, done.stderr + done.stdout
        return Session(folder, json.loads((folder / "told.json").read_text()), done.stdout, done.stderr)

    return once("faces", make)


def test_the_groups_share_all_thirty_columns():
    found = groups(key_points.COLUMNS)
    assert list(found) == list(GROUPS)
    assert [len(columns) for columns in found.values()] == [4, 2, 6, 2, 8, 8]
    assert sorted(sum(found.values(), ())) == sorted(key_points.COLUMNS)


def test_a_mirror_exchanges_points_within_a_group_alone():
    found = groups(key_points.COLUMNS)
    exchanged = {group: any(in_mirror(name) != name for name in columns) for group, columns in found.items()}
    assert all({in_mirror(name) for name in columns} == set(columns) for columns in found.values())
    assert [group for group, swaps in exchanged.items() if not swaps] == ["nose", "mouth_bottom"]


def test_columns_that_are_not_there_have_no_specialist():
    assert groups(("nose_tip_x", "nose_tip_y")) == {"nose": ("nose_tip_x", "nose_tip_y")}
    with pytest.raises(JobError, match=r"no specialist knows the target.*left_ear_x"):
        groups(("nose_tip_x", "nose_tip_y", "left_ear_x"))


def few(group: str, rows: int) -> Dataset:
    """Ten rows that are marked in full, but for a group that so many have."""
    y = np.zeros((10, len(key_points.COLUMNS)), np.float32)
    first = key_points.COLUMNS.index(groups(key_points.COLUMNS)[group][0])
    y[rows:, first] = np.nan
    x = np.zeros((10, 4), np.uint8)
    found = Dataset(name="few", train_x=x, train_y=y, test_x=x, test_y=y, scale=1, classes=0)
    return replace(found, targets=key_points.COLUMNS, image_shape=(2, 2, 1))


@pytest.mark.parametrize(
    ("rows", "optimizer", "expected"),
    [
        (0, "adam", "none of the 10 training rows has all points of eyebrows: left_eyebrow_inner_end_x, "),
        (3, "adam", "batch_size 4 is more than the 3 training rows with all points of eyebrows"),
        (4, "adam", ""),
        (1, "lbfgs", ""),
    ],
)
def test_rows_that_a_specialist_lacks_are_missed_before_the_general_net_is_trained(
    rows: int, optimizer: str, expected: str
):
    config = resolve("key-point-specialists", {"batch_size": 4, "optimizer": optimizer}, None)
    general = key_point_specialists.stages(replace(config, targets=key_points.COLUMNS))[0]
    data = few("eyebrows", rows)
    if not expected:
        assert general.select(data, {}) is data
        return
    with pytest.raises(JobError, match=expected):
        general.select(data, {})


@pytest.mark.parametrize("order", ["kaggle", "reversed"])
def test_specialists_begin_as_the_general_net(session: Session, order: str):
    with np.load(session.folder / "merged.npz") as found:
        columns = found[f"{order}/general/columns"].tolist()
        for group in GROUPS:
            chosen = [columns.index(name) for name in found[f"{order}/{group}/columns"]]
            np.testing.assert_allclose(
                found[f"{order}/{group}/at first"], found[f"{order}/general"][:, chosen], atol=1e-5, err_msg=group
            )


@pytest.mark.parametrize("order", ["kaggle", "reversed"])
def test_the_merged_net_answers_as_its_specialists_and_within_the_picture(session: Session, order: str):
    with np.load(session.folder / "merged.npz") as found:
        expected = {
            name: found[f"{order}/{group}"][:, column]
            for group in GROUPS
            for column, name in enumerate(found[f"{order}/{group}/columns"])
        }
        merged = found[f"{order}/merged/at first"]
        outside = 0
        for column, name in enumerate(found[f"{order}/merged/columns"]):
            np.testing.assert_allclose(merged[:, column], expected[name].clip(-1, 1), atol=1e-5, err_msg=name)
            outside += (np.abs(expected[name]) > 1).sum()
    assert outside  # else nothing was clipped


def test_asked_to_stop_while_it_is_made_ready_it_trains_no_batch(session: Session):
    assert session.told["at once"] == [143, 0]


def test_stopped_in_any_stage_it_ends_with_the_same_bytes(session: Session):
    assert session.told["stopped"] == [143] * 4
    assert session.told["finished"] == 0
    whole, cut = (pickle.loads((session.folder / name / "weights.pkl").read_bytes()) for name in ("whole", "cut"))
    assert {name: array.tobytes() for name, array in whole.items()} == {
        name: array.tobytes() for name, array in cut.items()
    }
    assert {name.partition("_")[0] for name in whole} == {"eyes", "mouth"}
    lines = [(session.folder / name / "metrics.jsonl").read_text().splitlines() for name in ("whole", "cut")]
    told = [[(line["step"], line["name"], line["value"]) for line in map(json.loads, each)] for each in lines]
    assert told[0] == told[1]
    assert {name.partition("/")[0] for _, name, _ in told[0]} == {"general", "eyes", "mouth"}


def test_specialists_move_on_from_the_general_net(session: Session):
    merged = pickle.loads((session.folder / "whole" / "weights.pkl").read_bytes())
    with np.load(session.folder / "whole-checkpoints" / "stage-0.npz") as general:
        for group, columns in (("eyes", slice(0, 4)), ("mouth", slice(4, 10))):
            moved = np.abs(merged[f"{group}_output/bias"] - general["output/bias"][columns]).max()
            assert 0 < moved < 0.5, group


def test_a_table_of_kaggles_is_answered_in_its_order(session: Session):
    assert session.told["asked"] == 0
    with (session.folder / "asked.csv").open(newline="") as file:
        found = list(csv.reader(file))
    assert found[0] == ["RowId", "Location"]
    assert [row[0] for row in found[1:]] == ["1", "2"]
    assert all(0 <= float(row[1]) <= 96 for row in found[1:])


def test_a_point_that_the_net_does_not_answer_is_named(session: Session):
    assert session.told["unknown"] == 2
    assert "unknown-table.csv:2: FeatureName is 'nose_tip_x'" in session.stderr
    assert not (session.folder / "unknown.csv").exists()


def test_both_nets_learn_a_few_rows_by_heart(session: Session):
    assert session.told["points"] == session.told["expressions"] == 0, session.stdout


def test_the_decks_sizes_are_for_real_data_and_smaller_ones_for_drawn(tmp_path: Path):
    real = tmp_path / "training.csv"
    real.write_text(f"{key_points.COLUMNS[0]},{key_points.COLUMNS[1]},Image\n")
    found = resolve("key-points", {"data": str(real)}, None)
    assert found.options["hidden_units"] == (1000, 1000)
    assert (found.momentum_schedule.options, found.early_stopping.options) == ({"stop": 0.999}, {"patience": 200})
    drawn = resolve("key-points", {"data": "faces-key-points", "options": {"kernels": (4,)}}, None)
    assert drawn.options["hidden_units"] == (200, 200)
    assert drawn.options["kernels"] == (4,)
    assert (drawn.hold_out, drawn.early_stopping.name) == (0.0, "none")


def test_a_fold_takes_the_place_of_the_rows_that_are_held_out_by_default(tmp_path: Path):
    real = tmp_path / "training.csv"
    real.write_text(f"{key_points.COLUMNS[0]},{key_points.COLUMNS[1]},Image\n")
    assert resolve("key-points", {"data": str(real)}, None).hold_out == 0.2
    assert resolve("key-points", {"data": str(real), "fold": "2/5"}, None).hold_out == 0.0
