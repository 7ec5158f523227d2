"""`python -m jobs evaluate`: weights that came home, judged on held-out rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobs import runtime, weights
from jobs.config import resolve
from jobs.errors import JobError
from jobs.outputs import RESULT, read_result
from jobs.train import prepare


def evaluate(path: Path, model: str | None, options: dict[str, Any]) -> int:
    """Print cost and error of the weights in `path`; what is not given is taken from the result.json beside them."""
    arrays = weights.load(path)
    result = read_result(path.parent)
    model = model or result.get("model")
    if not model:
        raise JobError(f"there is no {RESULT} beside {path} that names the model: say --model")
    trained = result.get("settings", {})
    known = {name: trained.get(name) for name in ("l2", "floatx") if options.get(name) is None}
    _, network, _ = prepare(resolve(model, {**options, **known, "batch_size": 1}, None))
    from jobs import training  # noqa: PLC0415  # it imports TensorFlow

    training.set_weights(network, arrays)
    cost, error = network.evaluate()
    print(f"Cost / err: {float(cost):.3f} / {float(error):.3f}")
    print(f"Test error: {float(error):.2%}")
    print(f"Used the {runtime.device_of(cost)}")
    return 0
