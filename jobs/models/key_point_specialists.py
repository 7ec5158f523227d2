"""Key points by six specialists: nets fine-tuned from `key-points` for some of the points each, then merged into one.

Source: deck 2, facial key points. Most faces have but four of the fifteen points marked, and a specialist can use every
row that has its own points, however few others it has. First the general net of `key-points` is trained on all points;
then each specialist goes on from its weights, on the rows that have all of its columns, with schedules and early
stopping of its own. The last stage trains nothing: it puts the six side by side, each answering its own columns, and
keeps the answers within the picture. So what is judged and written is one network with 30 outputs again.

Mirrored rows (augment `flip`, `faces` or `key-points`) exchange left and right within a group, in which every point is
there with its other half: of eyes, mouth, eye corners and eyebrows. The nose tip and the bottom lip have none: their
specialists see the mirrored picture, and x changes its side, that is all.

Two things are not as in the deck. Its specialists start from a new last layer; here from the general net's columns, so
that none begins below the general net. And it trains each until it has seen 4,000,000 rows, 570 to 1870 epochs by how
many rows have its points; here all train for `specialist_epochs`, unless early stopping comes first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs.catalogue import Settings
from jobs.choice import Choice
from jobs.errors import JobError
from jobs.models import key_points
from jobs.second_order import catalogue as second_order
from jobs.seeds import seed_for
from jobs.stages import Done, Stage

if TYPE_CHECKING:
    import keras

    from jobs.config import Config
    from jobs.datasets.dataset import Dataset

OBJECTIVE = key_points.OBJECTIVE
GENERAL, MERGED = "general", "merged"

GROUPS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "eyes": ("left_eye_center", "right_eye_center"),
        "nose": ("nose_tip",),
        "mouth": ("mouth_left_corner", "mouth_right_corner", "mouth_center_top_lip"),
        "mouth_bottom": ("mouth_center_bottom_lip",),
        "eye_corners": (
            *("left_eye_inner_corner", "left_eye_outer_corner"),
            *("right_eye_inner_corner", "right_eye_outer_corner"),
        ),
        "eyebrows": (
            *("left_eyebrow_inner_end", "left_eyebrow_outer_end"),
            *("right_eyebrow_inner_end", "right_eyebrow_outer_end"),
        ),
    }
)
"""Whose points each specialist answers for: those that the same people marked in the same rows."""

OPTIONS: Mapping[str, Any] = MappingProxyType({**key_points.OPTIONS, "specialist_epochs": 1000})

_general, _drawn = key_points.SETTINGS[""], key_points.SETTINGS["faces-key-points"]
SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {"": _general, "faces-key-points": replace(_drawn, options={**_drawn.options, "specialist_epochs": 4})}
)


def stages(config: Config) -> Sequence[Stage]:
    """The general net, a specialist for each group of columns, and all of them merged; raises `JobError`."""
    specialists = [_specialist(config, *group) for group in groups(config.targets).items()]
    select = partial(_enough_for_all, specialists=specialists)
    general = Stage(name=GENERAL, config=config, build=key_points.build, objective=OBJECTIVE, select=select)
    untrained = replace(
        config,
        epochs=0,
        optimizer=Choice("sgd"),  # it has no state to keep for six nets that are not trained
        schedule=Choice("constant"),
        momentum_schedule=Choice("constant"),
        early_stopping=Choice("none"),
        augment="none",
    )
    return [general, *specialists, Stage(name=MERGED, config=untrained, build=build, objective=OBJECTIVE, begin=_merge)]


def groups(targets: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The columns of each specialist that has any among `targets`; raises `JobError` for targets that are nobody's."""
    owner = {f"{point}_{axis}": group for group, points in GROUPS.items() for point in points for axis in "xy"}
    if unknown := [name for name in targets if name not in owner]:
        raise JobError(f"no specialist knows the target(s) {', '.join(unknown[:3])}: expected the facial key points")
    found = {group: tuple(name for name in targets if owner[name] == group) for group in GROUPS}
    return {group: columns for group, columns in found.items() if columns}


def build(config: Config) -> keras.Model:
    """The specialists side by side, for rows of `config.input_shape`; raises `JobError` as `key_points.build` does."""
    import keras  # noqa: PLC0415  # only once device and floatx are set

    from jobs.layers.pictures import as_pictures  # noqa: PLC0415  # it imports Keras

    pixels = keras.Input(config.input_shape, dtype=config.floatx)  # (batch, 9216)
    pictures = as_pictures(config, pixels)  # (batch, 96, 96, 1)
    of_group = groups(config.targets)
    places = [
        key_points.places_in(config, pictures, outputs=len(columns), prefix=f"{group}_")
        for group, columns in of_group.items()
    ]  # six of (batch, their columns)
    joined = keras.layers.Concatenate(name="joined")(places) if len(places) > 1 else places[0]
    answered = [name for columns in of_group.values() for name in columns]
    ordered = keras.ops.take(joined, [answered.index(name) for name in config.targets], axis=1)  # (batch, 30)
    within = keras.ops.clip(ordered, -1.0, 1.0)  # nothing is looked for outside of the picture
    return keras.Model(pixels, within, name="key_point_specialists")


def _specialist(config: Config, group: str, columns: Sequence[str]) -> Stage:
    """One that goes on from the general net."""
    settings = replace(config, epochs=config.options["specialist_epochs"], seed=seed_for(config.seed, group))
    chosen = [config.targets.index(name) for name in columns]
    least = 1 if config.optimizer.name in second_order.METHODS else config.batch_size  # those take whatever there is
    return Stage(
        name=group,
        config=settings,
        build=key_points.build,
        objective=OBJECTIVE,
        select=partial(_complete, group=group, columns=columns, least=least),
        begin=partial(_from_general, chosen=chosen),
    )


def _enough_for_all(dataset: Dataset, done: Done, specialists: Sequence[Stage]) -> Dataset:
    """The same rows; raises `JobError` where a specialist will lack some, before the general net is trained."""
    for each in specialists:
        each.select(dataset, done)
    return dataset


def _complete(dataset: Dataset, _done: Done, group: str, columns: Sequence[str], least: int) -> Dataset:
    """The rows that have all of these columns, and no other targets.

    Raises `JobError` where there are none, or fewer than `least` to train on.
    """
    chosen = [dataset.targets.index(name) for name in columns]

    def part(name: str, x: NDArray[Any], y: NDArray[Any], least: int = 1) -> tuple[NDArray[Any], NDArray[Any]]:
        kept = ~np.isnan(y[:, chosen]).any(axis=1)
        if not kept.any():
            raise JobError(f"none of the {len(y):,} {name} rows has all points of {group}: {', '.join(columns)}")
        if kept.sum() < least:
            raise JobError(f"batch_size {least} is more than the {kept.sum():,} {name} rows with all points of {group}")
        return x[kept], np.ascontiguousarray(y[kept][:, chosen])

    train_x, train_y = part("training", dataset.train_x, dataset.train_y, least)
    test_x, test_y = part("test", dataset.test_x, dataset.test_y)
    found = replace(dataset, train_x=train_x, train_y=train_y, test_x=test_x, test_y=test_y, targets=tuple(columns))
    if dataset.valid_x is None or dataset.valid_y is None:
        return found
    valid_x, valid_y = part("held-out", dataset.valid_x, dataset.valid_y)
    return replace(found, valid_x=valid_x, valid_y=valid_y)


def _from_general(model: keras.Model, done: Done, chosen: Sequence[int]) -> None:
    """The general net's weights, of its last layer those columns."""
    from jobs import network  # noqa: PLC0415  # it imports Keras

    own = {name: array[..., chosen] for name, array in done[GENERAL].items() if name.startswith("output/")}
    network.set_weights(model, {**done[GENERAL], **own})


def _merge(model: keras.Model, done: Done) -> None:
    """Each specialist's weights, under its name."""
    from jobs import network  # noqa: PLC0415  # it imports Keras

    network.set_weights(
        model, {f"{group}_{name}": array for group, found in done.items() for name, array in found.items()}
    )
