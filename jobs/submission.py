"""What Kaggle wants of the key points: `RowId,Location`, a row for each that its IdLookupTable.csv asks for.

The table has `RowId,ImageId,FeatureName,Location`, the last empty: not every picture is asked for every point. Places
are in pixels, and those outside of the picture are brought to its edge.
Source: https://www.kaggle.com/c/facial-keypoints-detection/data; deck 2.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from jobs.datasets.key_points import SIDE
from jobs.errors import JobError

LOOKUP = "IdLookupTable.csv"
ASKED = ("RowId", "ImageId", "FeatureName")
COLUMNS = ("RowId", "Location")


def rows(lookup: Path, numbers: Sequence[int], targets: Sequence[str], places: NDArray[Any]) -> list[tuple[str, str]]:
    """(RowId, Location) in the table's order: of `places` (pictures, targets) in pixels, `numbers` their ImageId.

    Raises `JobError` where the table cannot be read, asks for nothing, asks for a picture or a point that there is
    not, or twice under one RowId, and where a place is no number.
    """
    row_of = {number: row for row, number in enumerate(numbers)}
    column_of = {name: column for column, name in enumerate(targets)}
    found: dict[str, str] = {}
    for where, (row_id, image, feature) in _asked(lookup):
        if not row_id.isdecimal() or row_id in found:
            raise JobError(f"{where}: RowId is {row_id!r}: expected a number that is not there before")
        if not image.isdecimal() or int(image) not in row_of:
            raise JobError(f"{where}: ImageId is {image!r}: expected one of the {len(row_of):,} pictures of the data")
        if feature not in column_of:
            known = f"{len(column_of)} columns such as {targets[0]}"
            raise JobError(f"{where}: FeatureName is {feature!r}: the network answers {known}")
        place = float(places[row_of[int(image)], column_of[feature]])
        if math.isnan(place):
            raise JobError(f"{where}: the network's answer for picture {image}, {feature}, is no number")
        found[row_id] = f"{min(max(place, 0.0), float(SIDE)):.4f}"
    if not found:
        raise JobError(f"{lookup} asks for nothing: expected rows of {','.join(ASKED)}")
    return list(found.items())


def _asked(lookup: Path) -> list[tuple[str, Sequence[str]]]:
    """Where in the file, and what `ASKED` is there."""
    try:
        with lookup.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            if missing := [name for name in ASKED if name not in (reader.fieldnames or ())]:
                raise JobError(f"{lookup}: missing column(s) {', '.join(missing)}: expected {','.join(ASKED)},..")
            return [(f"{lookup}:{reader.line_num}", _cells(row)) for row in reader]
    except OSError as error:
        raise JobError(f"cannot read {lookup}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise JobError(f"{lookup} is no CSV: {error}") from error


def _cells(row: Mapping[str, Any]) -> Sequence[str]:
    return [(row[name] or "").strip() for name in ASKED]
