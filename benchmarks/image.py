"""From `gpurun launch` to the first line of the job's log, with a baked image and without, on a sandbox of its own.

    .venv/bin/python benchmarks/image.py [--repeat 5] [--write]

The job needs NumPy. Without the image it makes an environment and installs it; with the image it is there.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from report.machine import commit, machine
from report.section import write_section
from report.stopping import stoppable
from report.table import seconds, table

import launcher
from launcher.sandbox import control

PACKAGE = "numpy"
PYTHON = "/opt/gpurun/bin/python"
JOB = f"""\
python={PYTHON}
if [ ! -x $python ]; then
    python3 -m venv ~/environment
    python=~/environment/bin/python
    $python -m pip install -q --disable-pip-version-check --no-index --find-links wheels {PACKAGE}
fi
exec $python train.py
"""
TRAIN = """\
import numpy

x = numpy.arange(20.0).reshape(10, 2)
print("fitted", numpy.linalg.lstsq(x, x @ [2.0, 3.0])[0].round(6).tolist(), flush=True)
"""
SMOKE_TEST = """\
import json, numpy
print(json.dumps({"ok": True, "numpy": numpy.__version__, "steps": 0, "no_gpu_because": "not looked for"}))
"""
FIRST_LINE = "fitted [2.0, 3.0]\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One launch."""

    first_line_s: float
    whole_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Laptop:
    """A user's folders, and gpurun there."""

    home: Path

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "launcher.cli", *words]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "XDG_STATE_HOME": str(self.home), "PYTHONPATH": str(Path(launcher.__file__).parents[1])}

    def launch(self, folder: Path, image: str) -> Timed:
        """Launch the job, and time what it prints."""
        options = ["--device", "cpu", *(["--image", image] if image else [])]
        began = time.perf_counter()
        with (
            tempfile.TemporaryFile() as told,
            subprocess.Popen(
                self.command("launch", "--sandbox", *options, "job.sh"),
                cwd=folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=told,
                text=True,
            ) as process,
        ):
            try:
                first = process.stdout.readline() if process.stdout else ""
            except BaseException:
                process.terminate()
                raise
            first_line_s = time.perf_counter() - began
            if process.wait() or first != FIRST_LINE:
                told.seek(0)
                sys.exit(f"the job said {first!r}; {told.read().decode()}")
        return Timed(first_line_s=first_line_s, whole_s=time.perf_counter() - began)

    def bake(self, recipe: Path) -> float:
        """Bake the image; how long it took."""
        began = time.perf_counter()
        command = self.command("ami", "bake", "--sandbox", "--no-verify", "--recipe", str(recipe))
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(done.stderr)
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=5, help="launches of each kind, after one to warm up")
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    asked = parser.parse_args()
    with stoppable("nothing is left"), tempfile.TemporaryDirectory(prefix="gpurun-bench-image-") as folder:
        state = Path(folder, "gpurun", "sandbox")
        try:
            control.start(state, hosts="namespaces", timeout_s=300)
            text = measure(Path(folder), asked.repeat)
        finally:
            control.stop(state)
    print(text)
    if asked.write:
        write_section("image", "benchmarks/image.py", text)


def measure(home: Path, repeat: int) -> str:
    laptop = Laptop(home=home)
    bare, ready, recipe = home / "bare", home / "ready", home / "recipe"
    for folder in (bare, ready):
        folder.mkdir()
        (folder / "job.sh").write_text(JOB)
        (folder / "train.py").write_text(TRAIN)
    (bare / "wheels").mkdir()
    recipe.mkdir()
    made = wheel(PACKAGE, bare / "wheels")
    (recipe / made.name).hardlink_to(made)
    write_recipe(recipe)
    bake_s = laptop.bake(recipe)
    contenders = {"installs when it starts": (bare, ""), "baked image": (ready, "tag:gpurun:image=gpurun")}
    found: dict[str, list[Timed]] = {name: [] for name in contenders}
    for _ in range(repeat + 1):
        for name, (folder, image) in contenders.items():
            found[name].append(laptop.launch(folder, image))
    return told({name: times[1:] for name, times in found.items()}, bake_s, made.stat().st_size / 1e6)


def wheel(name: str, folder: Path) -> Path:
    """The wheel of a package as it is installed here, so that no index is asked."""
    package = distribution(name)
    tags = [
        line.partition(":")[2].strip() for line in (package.read_text("WHEEL") or "").splitlines() if "Tag:" in line
    ]
    path = folder / f"{name.replace('-', '_')}-{package.version}-{tags[0]}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for file in package.files or ():
            inside = ".." not in file.parts and "__pycache__" not in file.parts
            if inside and file.name not in {"INSTALLER", "REQUESTED", "direct_url.json"}:
                archive.write(str(file.locate()), str(file))
    return path


def write_recipe(folder: Path) -> None:
    """The sandbox's versions with NumPy in place of what the base image has."""
    own = Path(launcher.__file__).parents[1] / "ami/sandbox/versions.env"
    text = own.read_text().replace('PYTHON_PACKAGES=""', f'PYTHON_PACKAGES="{PACKAGE}"')
    (folder / "versions.env").write_text(text.replace('INHERIT_PACKAGES="yes"', 'INHERIT_PACKAGES="no"'))
    (folder / "smoke_test.py").write_text(SMOKE_TEST)


def told(found: dict[str, list[Timed]], bake_s: float, size_mb: float) -> str:
    rows = []
    for name, times in found.items():
        first = [each.first_line_s for each in times]
        whole = statistics.median(each.whole_s for each in times)
        spread = (statistics.median(first), min(first), max(first), whole)
        rows.append([name, str(len(times)), *map(seconds, spread)])
    headers = ("the machine", "launches", "first log line, s, median", "fastest", "slowest", "whole run, s, median")
    slow, quick = (statistics.median(each.first_line_s for each in times) for times in found.values())
    return "\n".join(
        [
            "## With and without a baked image",
            "",
            "Made by `python benchmarks/image.py`: one job that needs NumPy, launched in turn on a stock image",
            "and on one that was baked with it; whole processes on one sandbox, a warm plan. On the stock image",
            f"the job makes an environment and installs one wheel ({size_mb:.0f} MB) sent with its code; the disk of a",
            "machine of the baked image begins as a copy of the image's, which is in the figures, in the boot.",
            "Neither a download from PyPI nor the boot of a real machine is in them.",
            f"The bake itself, without its test launch, took {bake_s:.0f} s.",
            "",
            f"{machine(', which others used too')}, commit {commit()}, load {os.getloadavg()[0]:.1f}",
            "",
            table(headers, rows),
            "",
            f"The image saves {slow - quick:.1f} s of {slow:.1f} s.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
