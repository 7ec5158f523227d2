"""`python -m jobs export`: weights in another format, or the whole network as Keras or TensorFlow keep it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from jobs import trained, weights
from jobs.errors import JobError
from jobs.files import make_folder

SAVED_MODEL = "saved_model"


def export(path: Path, model: str | None, options: dict[str, Any], to: str, output: Path | None) -> int:
    """Write the weights in `path` as `to` says, into the folder `output` or beside them; raises `JobError`."""
    folder = output or path.parent
    make_folder(folder)
    if to in weights.ENDINGS:
        written = weights.save(folder, weights.load(path), to)
    elif to == "keras":
        written = weights.save_model(folder, trained.rebuild(path, model, options))
    else:
        written = _saved_model(folder, path, model, options)
    print(f"Written: {written}")
    return 0


def _saved_model(folder: Path, path: Path, model: str | None, options: dict[str, Any]) -> Path:
    """Write the folder that TensorFlow Serving and TensorFlow Lite read; it takes inputs scaled as in the training.

    They are of the type of the weights, as its answers are: who asks knows nothing of half types within.
    """
    if trained.settings(path, model, {**options, "data": trained.ANY}).backend != "tensorflow":
        raise JobError("a SavedModel is TensorFlow's: say --backend tensorflow")
    network, final, beside = (
        trained.rebuild(path, model, options),
        folder / SAVED_MODEL,
        folder / f".{SAVED_MODEL}.part",
    )
    import keras  # noqa: PLC0415  # by now it is set up

    asked = [keras.InputSpec(shape=network.input_shape, dtype=network.variable_dtype, name="inputs")]
    try:
        shutil.rmtree(beside, ignore_errors=True)
        network.export(beside, format="tf_saved_model", verbose=False, input_signature=asked)
        shutil.rmtree(final, ignore_errors=True)
        beside.replace(final)
    except OSError as error:
        raise JobError(f"cannot write {final}: {error.strerror or error}", exit_code=1) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return final
