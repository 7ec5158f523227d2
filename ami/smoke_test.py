"""Does TensorFlow work here? Imports it, trains ten steps, and says as JSON whether there is a GPU, and why if not.

The last line of its output, and `smoke.json` in GPURUN_OUTPUT_DIR where that is set, is the finding. It ends with 1
where something does not work: a GPU that is there and that TensorFlow does not see is such a thing.
"""

import json
import os
import platform
import sys
import time
from pathlib import Path

STEPS = 10


def main() -> int:
    """Test, tell, and give the exit status."""
    found = {"ok": False, "python": platform.python_version(), "gpu_visible": False}
    try:
        found.update(_import(), **_train())
        found["ok"] = not found["trouble"]
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        found["trouble"] = f"{type(error).__name__}: {error}"
    text = json.dumps(found)
    if os.environ.get("GPURUN_OUTPUT_DIR"):
        Path(os.environ["GPURUN_OUTPUT_DIR"], "smoke.json").write_text(text + "\n")
    print(text, flush=True)
    return 0 if found["ok"] else 1


def _import() -> dict:
    """Import TensorFlow and look for GPUs."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    begun = time.monotonic()
    import keras  # noqa: PLC0415 - that it can be imported at all is what is tested, and timed
    import tensorflow as tf  # noqa: PLC0415

    import_s = time.monotonic() - begun
    gpus = [tf.config.experimental.get_device_details(each) for each in tf.config.list_physical_devices("GPU")]
    why, trouble = ("", "") if gpus else _no_gpu(tf.test.is_built_with_cuda())
    return {
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "import_s": round(import_s, 2),
        "gpu_visible": bool(gpus),
        "gpus": [each.get("device_name", "unnamed") for each in gpus],
        "no_gpu_because": why,
        "trouble": trouble,
    }


def _no_gpu(built_with_cuda: bool) -> tuple:
    """(why there is none, what is wrong about that)."""
    devices = sorted(str(path) for path in Path("/dev").glob("nvidia[0-9]*"))
    if not devices:
        return "this machine has none", ""
    if not built_with_cuda:
        why = "this TensorFlow is built without CUDA"
    else:
        why = "TensorFlow does not see it: driver and CUDA do not fit together"
    return why, f"{devices[0]} is there, but {why}"


def _train() -> dict:
    """Ten steps of gradient descent on a sum that can be learnt: the loss must fall."""
    import numpy as np  # noqa: PLC0415
    import tensorflow as tf  # noqa: PLC0415

    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 8)).astype("float32")
    y = x @ rng.normal(size=(8, 1)).astype("float32")
    weights = tf.Variable(tf.zeros((8, 1)))

    @tf.function
    def step() -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((x @ weights - y) ** 2)
        weights.assign_sub(0.1 * tape.gradient(loss, weights))
        return loss

    losses = [float(step()) for _ in range(STEPS)]
    if not (np.isfinite(losses).all() and losses[-1] < losses[0] / 2):
        raise ArithmeticError(f"{STEPS} steps of training took the loss from {losses[0]:g} to {losses[-1]:g}")
    return {"steps": len(losses), "first_loss": losses[0], "last_loss": losses[-1]}


if __name__ == "__main__":
    sys.exit(main())
