"""Where eyes, brows, nose and mouth are in a face of 96x96 pixels: three convolutions, then 1000-1000-30.

Source: deck 2, facial key points: 32 kernels of 3x3, 64 and 128 of 2x2, each pooled and with a dropout of 0.1, 0.2 and
0.3; two layers of 1000 ReLU units with a dropout of 0.5 between them; 30 linear outputs. Nesterov momentum in batches
of 128, half of the rows mirrored, the rate from 0.03 to 0.0001 and the momentum from 0.9 to 0.999 in even steps, and
early stopping with a patience of 200 epochs. The deck does not say how many epochs; 1000 here.

Targets are -1..1 over the picture, (pixels - 48) / 48: times 48 the error is in pixels. A coordinate that nobody marked
counts for nothing, so every row is learnt from; the deck drops each row that lacks one of the fifteen points.

As in `cnn`, bias and ReLU come after the pooling, with the same result for a quarter of the work. On drawn faces, which
are simpler than real ones, a smaller net without dropout comes within a tenth of the least error there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jobs import initializers
from jobs.catalogue import Settings
from jobs.errors import JobError
from jobs.seeds import seed_for

if TYPE_CHECKING:
    import keras

    from jobs.config import Config

OBJECTIVE = "regression"

OPTIONS: Mapping[str, Any] = MappingProxyType(
    {"kernels": (32, 64, 128), "hidden_units": (1000, 1000), "conv_dropout": (0.1, 0.2, 0.3), "dropout": 0.5}
)

FIRST_WINDOW, WINDOW = 3, 2
"""Pixels along a side of what a kernel sees, in the first convolution and in the others."""

SETTINGS: Mapping[str, Settings] = MappingProxyType(
    {
        "": Settings(
            epochs=1000,
            batch_size=128,
            learning_rate=0.03,
            optimizer="nesterov,momentum=0.9",
            schedule="linear,stop=0.0001",
            momentum_schedule="linear,stop=0.999",
            early_stopping="since-best,patience=200",
            hold_out=0.2,
            augment="flip",
        ),
        "faces-key-points": Settings(
            epochs=12,
            batch_size=64,
            learning_rate=0.001,
            optimizer="adam",
            schedule="cosine,warm_up=0.15",
            options={"kernels": (16, 32, 64), "hidden_units": (200, 200), "conv_dropout": (0.0,), "dropout": 0.0},
        ),
    }
)


def build(config: Config) -> keras.Model:
    """The network for rows of `config.input_shape`; it answers a number for each of `config.targets`.

    Raises `JobError` where rows are no pictures, or have classes.
    """
    import keras  # noqa: PLC0415  # only once device and floatx are set

    from jobs.layers.pictures import as_pictures  # noqa: PLC0415  # it imports Keras

    pixels = keras.Input(config.input_shape, dtype=config.floatx)  # (batch, 9216)
    places = places_in(config, as_pictures(config, pixels), outputs=len(config.targets))  # (batch, 30)
    return keras.Model(pixels, places, name="key_points")


def places_in(config: Config, pictures: Any, *, outputs: int, prefix: str = "") -> Any:
    """`pictures` (batch, 96, 96, 1) to (batch, outputs), through layers whose names begin with `prefix`.

    Raises `JobError` where the data have classes, or the options do not go together.
    """
    import keras  # noqa: PLC0415  # only once device and floatx are set

    from jobs.layers.bias import Bias  # noqa: PLC0415  # it imports Keras
    from jobs.layers.pictures import check_not_eaten_up, padding_for  # noqa: PLC0415  # likewise

    if not config.targets:
        raise JobError(f"{config.model} answers numbers, such as the places of key points: these data have classes")

    def glorot(layer: str) -> Any:
        return initializers.make("glorot", seed_for(config.seed, layer))

    def dropped(layer: str, rate: float, inputs: Any) -> Any:
        return keras.layers.Dropout(rate, seed=seed_for(config.seed, layer), name=layer)(inputs)

    options, maps = config.options, pictures
    windows = [WINDOW if number else FIRST_WINDOW for number in range(len(options["kernels"]))]
    check_not_eaten_up(config, windows, padding_for(config))
    for number, (kernels, rate) in enumerate(zip(options["kernels"], _rates(options), strict=True), start=1):
        layer = f"{prefix}conv_{number}"
        maps = keras.layers.Conv2D(
            kernels,
            windows[number - 1],
            padding=padding_for(config),
            use_bias=False,
            kernel_initializer=glorot(layer),
            name=layer,
        )(maps)  # (batch, 94, 94, 32), then (batch, 46, 46, 64), then (batch, 22, 22, 128)
        maps = keras.layers.MaxPooling2D(name=f"{layer}_pool")(
            maps
        )  # (.., 47, 47, 32), (.., 23, 23, 64), (.., 11, 11, 128)
        maps = Bias(activation="relu", name=f"{layer}_relu")(maps)
        maps = dropped(f"{layer}_dropout", rate, maps)
    units = keras.layers.Flatten(name=f"{prefix}flat")(maps)  # (batch, 15488)
    for number, size in enumerate(options["hidden_units"], start=1):
        layer = f"{prefix}hidden_{number}"
        units = keras.layers.Dense(size, activation="relu", kernel_initializer=glorot(layer), name=layer)(units)
        if number < len(options["hidden_units"]):
            units = dropped(f"{layer}_dropout", options["dropout"], units)  # (batch, 1000)
    name = f"{prefix}output"
    return keras.layers.Dense(outputs, kernel_initializer=glorot(name), dtype=keras.config.floatx(), name=name)(
        units
    )  # (batch, 30)


def _rates(options: Mapping[str, Any]) -> tuple[float, ...]:
    """The dropout after each convolution; one number is for all of them."""
    kernels, rates = options["kernels"], options["conv_dropout"]
    if len(rates) not in {1, len(kernels)}:
        raise JobError(
            f"conv_dropout is {rates}: expected one rate, or one for each of the {len(kernels)} convolutions"
        )
    return tuple(rates) * len(kernels) if len(rates) == 1 else tuple(rates)
