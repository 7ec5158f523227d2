"""What a bake, and a test of an image, ask of a machine: specs as any run has one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from launcher import spec as specs
from launcher.bake.recipe import Recipe
from launcher.domain import Device, JobSpec, Limits, Requirements, SpotPolicy
from launcher.errors import SpecError
from launcher.spec.values import slug

if TYPE_CHECKING:
    from launcher.aws.baked import BakedImage

MIN_VCPUS = 2
MIN_MEMORY_BYTES = 7 << 30
"""TensorFlow's packages are unpacked and imported there."""
DISK_GIB = 40
BAKE_HOURS, TEST_HOURS = 3.0, 1.0
NAME_LIMIT = 60
END_OF_SCRIPT = "END OF THE SMOKE TEST"

# Only a launcher that took over from one that died would ever run it: a bake is not gone on with, it is begun anew.
_ABANDONED = "echo 'this was a bake that lost its launcher; bake again: gpurun ami bake' >&2\nexit 2\n"


def check_name(name: str) -> None:
    """Raise `SpecError` for a name that an image cannot have."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) or len(name) > NAME_LIMIT:
        raise SpecError(
            f"{name!r:.80}: an image's name is small letters, digits and dashes, {NAME_LIMIT} at most",
            hint="gpurun ami bake --name gpurun",
        )


def bake_spec(name: str, recipe: Recipe, changes: specs.Overrides, results: Path) -> JobSpec:
    """The run that bakes: an on-demand machine, since one that is taken back has made nothing."""
    check_name(name)
    base = JobSpec(
        name=slug(f"bake-{name}"),
        script=_ABANDONED,
        workdir=recipe.folder,
        device=Device.CPU,
        resources=Requirements(
            vcpus=MIN_VCPUS, memory_bytes=MIN_MEMORY_BYTES, spot=SpotPolicy.ON_DEMAND, disk_gib=DISK_GIB
        ),
        limits=Limits(max_hours=BAKE_HOURS, max_restarts=0),
        outputs=results,
    )
    spec = specs.override(base, changes)
    if spec.resources.image:
        return spec
    return replace(spec, resources=replace(spec.resources, image=recipe.base(spec.resources.architecture)))


def _smoke_test(recipe: Recipe) -> str:
    """It travels in the script, since a folder of somebody's versions need not have it."""
    text = recipe.files["smoke_test.py"].decode()
    write = f"cat >smoke_test.py <<'{END_OF_SCRIPT}'\n{text}\n{END_OF_SCRIPT}\n"
    return f"{write}exec {recipe.python} smoke_test.py\n"


def test_spec(image: BakedImage, recipe: Recipe, like: JobSpec, results: Path) -> JobSpec:
    """The run that tests an image: its smoke test, as a job, on a machine like `like`'s in the image's region."""
    resources = replace(
        like.resources,
        image=image.image_id,
        regions=(image.region,),
        zones=tuple(zone for zone in like.resources.zones if zone.startswith(image.region)),
        architecture=image.architecture,
    )
    return replace(
        like,
        name=slug(f"verify-{image.name or 'image'}"),
        script=_smoke_test(recipe),
        resources=resources,
        limits=replace(like.limits, max_hours=min(like.limits.max_hours, TEST_HOURS)),
        outputs=results,
    )
