"""Device and floating-point type, set before TensorFlow is imported, and what became of them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from jobs.errors import JobError

NO_GPU = "asked for a GPU, TensorFlow sees none: say --device cpu or pick an image with drivers"
HALF = ("bfloat16", "float16")


def start(device: str, floatx: str) -> None:
    """Set the environment, then import TensorFlow through Keras (some seconds).

    With the half types, what is computed is half and what is kept is float32 (Keras's mixed policies): a weight
    of eight bits' precision would swallow most of its updates. Raises `JobError` where TensorFlow or
    the GPU is missing.
    """
    if "tensorflow" in sys.modules:
        raise RuntimeError("TensorFlow is imported already: device and floatx come too late")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    _import_keras("float32" if floatx in HALF else floatx)
    import keras  # noqa: PLC0415  # only now
    import tensorflow as tf  # noqa: PLC0415  # only now

    if floatx in HALF:
        keras.config.set_dtype_policy(f"mixed_{floatx}")
    if device == "gpu" and not tf.config.list_physical_devices("GPU"):
        raise JobError(NO_GPU)


def _import_keras(floatx: str) -> None:
    """Import it with a keras.json of our own: Keras reads floatx there alone, and else writes one to the home.

    Where scikit-learn is installed, Keras imports it for wrappers that no job uses: a fifth of the whole import.
    Told that there is none, it does without.
    """
    settings = {"backend": "tensorflow", "floatx": floatx, "epsilon": 1e-07, "image_data_format": "channels_last"}
    before = os.environ.get("KERAS_HOME")
    hidden = sys.modules.setdefault("sklearn", None) is None  # type: ignore[arg-type]  # None: "not to be had"
    with tempfile.TemporaryDirectory() as home:
        Path(home, "keras.json").write_text(json.dumps(settings), encoding="utf-8")
        os.environ["KERAS_HOME"] = home
        try:
            import keras  # noqa: F401, PLC0415  # this is the import
        except ModuleNotFoundError as error:
            raise JobError(f"{error.name} is not installed: pip install 'gpurun-launcher[jobs]'") from error
        finally:
            os.environ.pop("KERAS_HOME") if before is None else os.environ.update(KERAS_HOME=before)
            if hidden:
                del sys.modules["sklearn"]


def device_of(tensor: Any) -> str:
    """`cpu` or `gpu`: where the operation ran that computed `tensor`."""
    return str(tensor.device).rpartition("device:")[2].partition(":")[0].lower()


def versions() -> dict[str, str]:
    """What the numbers may depend on."""
    packages = ("numpy", "keras", "tensorflow", "tensorflow-cpu")
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def threads() -> dict[str, int]:
    """How many processors there are: another number adds up in another order, and gives other last bits."""
    every = os.cpu_count() or 0
    return {"processors": every, "usable": len(os.sched_getaffinity(0)) if sys.platform == "linux" else every}
