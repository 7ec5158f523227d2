"""One seed for each thing that draws, all from the job's one seed."""

from __future__ import annotations

import zlib

import numpy as np


def seed_for(seed: int, name: str) -> int:
    """A seed in 0 .. 2**31 - 1 for what is called `name`, such as a layer, in a job with that `seed`.

    Two layers that share a seed draw the same numbers, as far as both go: their weights or masks would be alike.
    """
    return int(np.random.SeedSequence([seed, zlib.crc32(name.encode())]).generate_state(1)[0] >> 1)
