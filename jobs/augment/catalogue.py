"""Which augmentations there are, by name, and what each does to rows and targets.

Every one is a function of the rows and the generator alone: the same draw gives the same rows, to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from jobs.augment import images, key_points
from jobs.augment.geometry import Maps, Ranges, draw
from jobs.catalogue import nearest
from jobs.errors import JobError

Rows = tuple[NDArray[Any], NDArray[Any]]

SHIFT_PIXELS = 1
DECK = Ranges(degrees=180, shift_pixels=10, scale=1.6, stretch=1.3, shear_degrees=20, flip=True)
"""Deck 2's list in full, for pictures that have no up and no size of their own."""
FACES = Ranges(degrees=10, shift_pixels=2, scale=1.1, flip=True)
"""The same kinds, narrow enough for a face of 48 pixels to stay one: nobody frowns upside down."""
KEY_POINTS = Ranges(degrees=10, shift_pixels=4, scale=1.1, flip=True)
"""Likewise, for 96 pixels."""
CONTRAST, BRIGHTNESS = 1.2, 0.1
"""Up to that factor either way, log-uniform; up to that share of white more or less, uniform."""


class Augment(Protocol):
    """What `find` answers."""

    def __call__(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        image_shape: images.Shape,
        targets: tuple[str, ...],
        random: np.random.Generator,
    ) -> Rows:
        """New rows like `x` (rows, pixels) and new targets like `y`; classes (rows,), `targets` empty, stay.

        Neither argument is changed. With key points, `targets` are their columns' names.
        """


def none(
    x: NDArray[Any], y: NDArray[Any], image_shape: images.Shape, targets: tuple[str, ...], random: np.random.Generator
) -> Rows:
    """The rows as they are."""
    del image_shape, targets, random
    return x, y


def shift(
    x: NDArray[Any], y: NDArray[Any], image_shape: images.Shape, targets: tuple[str, ...], random: np.random.Generator
) -> Rows:
    """Up to one whole pixel in each direction, nine places in all (decks 3 and 4); what comes in is black."""
    height, width, _ = images.sides(image_shape)
    down, right = random.integers(-SHIFT_PIXELS, SHIFT_PIXELS, (2, len(x)), endpoint=True)
    still = np.zeros(len(x), np.bool_)
    offset = 2 * np.stack([right / width, down / height], axis=1)
    maps = Maps(matrix=np.broadcast_to(np.eye(2), (len(x), 2, 2)), offset=offset, flipped=still)
    return images.shifted(x, image_shape, down, right), _moved(y, targets, maps, image_shape)


def flip(
    x: NDArray[Any], y: NDArray[Any], image_shape: images.Shape, targets: tuple[str, ...], random: np.random.Generator
) -> Rows:
    """Half of the rows mirrored, left and right exchanged among key points (deck 2); nothing for digits."""
    height, width, _ = images.sides(image_shape)
    maps = draw(Ranges(flip=True), len(x), height, width, random)
    return images.mirrored(x, image_shape, maps.flipped), _moved(y, targets, maps, image_shape)


def affine(
    x: NDArray[Any], y: NDArray[Any], image_shape: images.Shape, targets: tuple[str, ...], random: np.random.Generator
) -> Rows:
    """Any angle, 10 pixels, 1.6 times the size, 1.3 the width, 20 degrees' shear, mirrored: deck 2's list in full."""
    return _warped(DECK, x, y, image_shape, targets, random)


def faces(
    x: NDArray[Any], y: NDArray[Any], image_shape: images.Shape, targets: tuple[str, ...], random: np.random.Generator
) -> Rows:
    """Up to 10 degrees, 2 pixels, a tenth larger or smaller, mirrored: deck 2's kinds, in ranges for faces."""
    return _warped(FACES, x, y, image_shape, targets, random)


def faces_with_key_points(
    x: NDArray[Any], y: NDArray[Any], image_shape: images.Shape, targets: tuple[str, ...], random: np.random.Generator
) -> Rows:
    """Up to 10 degrees, 4 pixels, a tenth larger or smaller, mirrored; 1.2 times the contrast, a tenth brighter."""
    if x.dtype != np.uint8:
        raise JobError(f"augment key-points needs pictures in bytes, 0 to 255: these are {x.dtype}")
    x, y = _warped(KEY_POINTS, x, y, image_shape, targets, random)
    contrast, brightness = random.uniform(-1.0, 1.0, (2, len(x)))
    return images.relit(x, CONTRAST**contrast, BRIGHTNESS * brightness), y


AUGMENTATIONS: Mapping[str, Augment] = MappingProxyType(
    {
        "none": none,
        "shift": shift,
        "flip": flip,
        "affine": affine,
        "faces": faces,
        "key-points": faces_with_key_points,
    }
)
NAMES = tuple(AUGMENTATIONS)


def find(name: str) -> Augment:
    """The augmentation of that name; raises `JobError` where there is none."""
    if name not in AUGMENTATIONS:
        raise JobError(f"unknown augmentation {name!r}{nearest(name, NAMES)}")
    return AUGMENTATIONS[name]


def check(name: str, image_shape: images.Shape | None, targets: tuple[str, ...]) -> None:
    """Raise `JobError` where rows that are `image_shape` pictures, with these targets, cannot be augmented so."""
    if find(name) is none:
        return
    if image_shape is None:
        raise JobError(f"augment {name} moves pictures: the rows of these data are none")
    if targets:
        key_points.columns(targets)


def _warped(
    ranges: Ranges,
    x: NDArray[Any],
    y: NDArray[Any],
    image_shape: images.Shape,
    targets: tuple[str, ...],
    random: np.random.Generator,
) -> Rows:
    height, width, _ = images.sides(image_shape)
    maps = draw(ranges, len(x), height, width, random)
    return images.warped(x, image_shape, maps), _moved(y, targets, maps, image_shape)


def _moved(y: NDArray[Any], targets: tuple[str, ...], maps: Maps, image_shape: images.Shape) -> NDArray[Any]:
    return key_points.moved(y, targets, maps, images.sides(image_shape)[:2]) if targets else y
