"""Networks of faces with tiny sizes, in one process, since Keras takes seconds to import; run as a program.

    python session.py FOLDER

FOLDER gets points.csv, an npz of numbers for the test to compare, and what trainings leave behind.
"""

from __future__ import annotations

import csv
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from jobs import runtime
from jobs.cli import main
from jobs.config import resolve
from jobs.datasets import faces, key_points
from jobs.models import key_point_specialists
from jobs.signals import StopRequest
from jobs.train import train

folder = Path(sys.argv[1])
TINY = {"kernels": (2, 3, 4), "hidden_units": (6, 5), "specialist_epochs": 3}
SHORT = {"epochs": 4, "batch_size": 16, "threads": 1}
POINTS = ("left_eye_center", "right_eye_center", *key_point_specialists.GROUPS["mouth"])


class Impatient(StopRequest):
    """Asks to stop when it has been looked at so many times."""

    looks = 0
    left = 10**9

    @property
    def signal_number(self):
        Impatient.looks += 1
        return signal.SIGTERM if Impatient.looks > Impatient.left else 0

    @signal_number.setter
    def signal_number(self, value):
        pass


def options(**more):
    return {"data": str(folder / "points.csv"), "options": TINY, **SHORT, **more}


def write_points() -> None:
    """Two groups of columns: one that nearly all rows have, one that a third have."""
    drawn = faces.make("key-points", 240, seed=3)
    chosen = [key_points.COLUMNS.index(f"{point}_{axis}") for point in POINTS for axis in "xy"]
    header = [*(key_points.COLUMNS[column] for column in chosen), key_points.IMAGE]
    with (folder / "points.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row, picture in zip(drawn.labels[:, chosen], drawn.pictures, strict=True):
            writer.writerow([*("" if np.isnan(place) else place for place in row), " ".join(map(str, picture))])
    with (folder / "test.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([key_points.IMAGE_ID, key_points.IMAGE])
        writer.writerows([number + 1, " ".join(map(str, drawn.pictures[number]))] for number in range(5))
    header = "RowId,ImageId,FeatureName,Location\n"
    (folder / "asked-table.csv").write_text(header + "1,5,mouth_left_corner_y,\n2,1,left_eye_center_x,\n")
    (folder / "unknown-table.csv").write_text(header + "1,5,nose_tip_x,\n")


def merge(found: dict[str, np.ndarray], name: str, targets: tuple[str, ...]) -> None:
    """All stages with weights that nobody trained, and what each network answers."""
    from jobs import network

    config = replace(
        resolve("key-point-specialists", options(), None),
        input_shape=(96 * 96,),
        image_shape=(96, 96, 1),
        classes=0,
        targets=targets,
    )
    random = np.random.default_rng(5)
    x = random.random((7, 96 * 96)).astype(np.float32)
    done: dict[str, dict[str, np.ndarray]] = {}
    for stage in key_point_specialists.stages(config):
        columns = targets if stage.name in {"general", "merged"} else key_point_specialists.groups(targets)[stage.name]
        model = stage.build(replace(stage.config, targets=columns))
        stage.begin(model, done)
        found[f"{name}/{stage.name}/columns"] = np.array(columns)
        found[f"{name}/{stage.name}/at first"] = model(x, training=False).numpy()
        if stage.name != "merged":
            for variable in model.variables:
                if not variable.path.endswith("seed_generator_state"):
                    variable.assign(variable.numpy() + random.normal(0, 0.3, variable.shape))
            found[f"{name}/{stage.name}"] = model(x, training=False).numpy()
            done[stage.name] = network.weights(model)


def resumed() -> dict[str, object]:
    """A training left alone, and one that is asked to stop again and again."""
    early = {"hold_out": 0.2, "early_stopping": "since-best,patience=1", "augment": "flip"}

    def run(name: str, left: int) -> int:
        Impatient.looks, Impatient.left = 0, left
        where = {"output_dir": folder / name, "checkpoint_dir": folder / f"{name}-checkpoints"}
        return train(resolve("key-point-specialists", options(**where, **early), None), Impatient())

    assert run("whole", 10**9) == 0
    looks = Impatient.looks
    at_once = run("cut", 0)
    with np.load(folder / "cut-checkpoints" / "checkpoint.npz") as saved:
        place = json.loads(str(saved["meta"]))["place"]
    stopped = [run("cut", looks // 5) for _ in range(4)]
    return {"at once": [at_once, place["step"]], "stopped": stopped, "finished": run("cut", 10**9)}


write_points()
told = {}
runtime.start(resolve("key-point-specialists", options(), None))
found: dict[str, np.ndarray] = {}
merge(found, "kaggle", key_points.COLUMNS)
merge(found, "reversed", key_points.COLUMNS[::-1])
np.savez(folder / "merged.npz", **found)
told |= resumed()
for lookup in ("asked", "unknown"):
    told[lookup] = main(
        [
            *("predict", str(folder / "whole" / "weights.pkl"), "--data", str(folder / "test.csv")),
            *("--output", str(folder / f"{lookup}.csv"), "--lookup", str(folder / f"{lookup}-table.csv")),
        ]
    )
faces.write_csv("expressions", 200, 3, folder / "expressions.csv")
SMALL = ("--set", "kernels=4,4,4", "--set", "hidden_units=20", "--threads", "1")
told["points"] = main(["check", "key-points", "--data", str(folder / "points.csv"), *SMALL])
told["expressions"] = main(["check", "expressions", "--data", str(folder / "expressions.csv"), *SMALL])
(folder / "told.json").write_text(json.dumps(told))
