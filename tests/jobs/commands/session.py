"""The commands one after the other in one process, since Keras takes seconds to import; prints what a test needs."""

import json
import shutil
from pathlib import Path

import numpy as np

from jobs import check
from jobs.cli import main
from jobs.datasets import digits

SHORT = ["--epochs", "3", "--print-every", "0"]
told = {}


def run(name, *arguments):
    told[name] = main([*map(str, arguments), "--threads", "1"])  # TensorFlow takes one number a process
    print(f"done: {name}", flush=True)


run("train", "train", "deck-mlp", *SHORT, "--monitor-every", "1", "--output-dir", "mlp", "--tensorboard")
run("train lenet", "train", "lenet", *SHORT, "--hold-out", "0.2", "--output-dir", "lenet")
run("train rbm", "train", "rbm", *SHORT, "--output-dir", "rbm")
run("train binary", "train", "binary", *SHORT, "--output-dir", "binary")
run("train half", "train", "deck-mlp", *SHORT, "--output-dir", "half", "--floatx", "bfloat16")
run("evaluate binary", "evaluate", "binary/weights.pkl")

data = digits.read()
pixels = (data.test_x * (255 // 16)).astype(np.uint8)
header = ",".join(f"pixel{number}" for number in range(64))
np.savetxt("test.csv", pixels, "%d", delimiter=",", header=header, comments="")
run("predict", "predict", "mlp/weights.pkl", "--output", "predicted.csv")
run("submit", "predict", "mlp/weights.pkl", "--data", "test.csv", "--output", "new/submission.csv")
run("predict binary", "predict", "binary/weights.pkl", "--output", "binary.csv")
run("predict rbm", "predict", "rbm/weights.pkl", "--output", "rbm.csv")
shutil.copy("mlp/weights.pkl", "alone.pkl")
run("submit alone", "predict", "alone.pkl", "--model", "deck-mlp", "--data", "test.csv", "--output", "alone.csv")

for kind in ("pickle", "npz", "safetensors", "keras", "savedmodel"):
    run(f"export {kind}", "export", "mlp/weights.pkl", "--to", kind, "--output", "exported")
run("export again", "export", "mlp/weights.pkl", "--to", "savedmodel", "--output", "exported")
for kind in ("keras", "savedmodel"):
    run(f"export half {kind}", "export", "half/weights.pkl", "--to", kind, "--output", "half-exported")
run("export alone", "export", "alone.pkl", "--model", "deck-mlp", "--to", "keras", "--output", "exported")
run("export jax", "export", "mlp/weights.pkl", "--to", "savedmodel", "--backend", "jax", "--output", "exported")

import keras  # noqa: E402  # after the jobs have set it up
import tensorflow as tf  # noqa: E402  # likewise

inputs = (data.test_x / 16).astype(np.float32)
served = tf.saved_model.load("exported/saved_model")  # its functions do not keep it alive
halfway = tf.saved_model.load("half-exported/saved_model")
answers = {
    "mlp": {
        "keras": keras.saving.load_model("exported/model.keras")(inputs),
        "savedmodel": served.serve(inputs),
    },
    "half": {
        "keras": keras.saving.load_model("half-exported/model.keras")(inputs),
        "keras after training": keras.saving.load_model("half/model.keras").predict(inputs, verbose=0),
        "savedmodel": halfway.serve(inputs),
        "signature": next(iter(halfway.signatures["serving_default"](inputs=tf.constant(inputs)).values())),
    },
}
as_lists = {model: {name: np.array(x).tolist() for name, x in each.items()} for model, each in answers.items()}
Path("answers.json").write_text(json.dumps(as_lists))
told["types"] = sorted({np.array(x).dtype.name for each in answers.values() for x in each.values()})

for name in ("mlp", "lenet", "rbm"):
    run(f"plot {name}", "plot", name)
run("plot nothing", "plot", "nowhere")

for name in ("deck-mlp", "lenet", "rbm", "binary"):
    run(f"check {name}", "check", name)
check.TINY_STEPS = 1
check.HALF_STEPS = (0.5,)  # too far for a difference to be a slope
check.L2_ADDED = -0.1
run("check failing", "check", "deck-mlp")
Path("told.json").write_text(json.dumps(told))
