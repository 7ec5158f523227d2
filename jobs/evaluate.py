"""`python -m jobs evaluate`: weights that came home, judged on held-out rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jobs import runtime, trained


def evaluate(path: Path, model: str | None, options: dict[str, Any]) -> int:
    """Print cost and error of the weights in `path`; what is not given is taken from the result.json beside them."""
    found = trained.load(path, model, options)
    network, dataset = found.network, found.dataset
    verdict = network.evaluate(network.rows(dataset.test_x, dataset.test_y))
    print(f"Cost / err: {verdict.cost:.3f} / {verdict.error:.3f}")
    name = network.objective.ERROR
    print(f"Test {name}: {verdict.error:.2%}" if name == "error" else f"Test {name}: {verdict.error:.4f}")
    print(f"Used the {runtime.device_of(network.model.variables[0])}")
    return 0
