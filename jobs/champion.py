"""The weights that a retraining's own are measured against: the champion's, which lie in GPURUN_CHAMPION_DIR.

Both are judged by one network on the same held-out rows in the same process, and result.json tells of both under
`evaluated`. What it says of a file it says of that file's sha256.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.errors import JobError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from jobs.config import Config
    from jobs.datasets.dataset import Dataset
    from jobs.network import Network, Rows, Verdict

NAMES = ("weights.pkl", "weights.npz", "weights.safetensors")
"""What `train` writes; of several, the first."""
WARM_START = "GPURUN_WARM_START"


def initial(environ: Mapping[str, str]) -> str | None:
    """Where a training begins that is told to begin where the champion ended; `None`: it is not."""
    folder = environ.get("GPURUN_CHAMPION_DIR")
    if environ.get(WARM_START) != "champion" or not folder:
        return None
    return str(found(Path(folder)) or Path(folder) / NAMES[0])


def found(folder: Path) -> Path | None:
    """The weights in a folder that `train` wrote."""
    return next((folder / name for name in NAMES if (folder / name).is_file()), None)


def heldout(dataset: Dataset) -> Dataset:
    """The test rows without the others, which nobody needs in two ways."""
    one_x, one_y = dataset.train_x[:1].copy(), dataset.train_y[:1].copy()
    return replace(dataset, train_x=one_x, train_y=one_y, valid_x=None, valid_y=None)


def evaluated(network: Network, own: tuple[Path, Verdict], test: Rows, held: Dataset, config: Config) -> dict[str, Any]:
    """What result.json says of both; the network has the champion's weights afterwards."""
    name = network.objective.ERROR
    return {
        "challenger": _told(*own, name),
        "champion": _judge(config, network, test, held),
        "rows_sha256": rows_sha256(held),
    }


def line(both: Mapping[str, Any], name: str) -> str:
    """The champion's part of it for people; empty where there is none."""
    rival = both["champion"]
    return f"The champion on these rows: {rival.get('problem') or rival[f'test_{name}']}" if rival else ""


def rows_sha256(dataset: Dataset) -> str:
    """Tells the held-out rows apart from any others, before anything is done to their inputs."""
    seen = hashlib.sha256()
    for array in (dataset.test_x, dataset.test_y):
        seen.update(f"{array.dtype.str} {array.shape} ".encode())
        seen.update(_bytes(array))
    return seen.hexdigest()


def begin_with(network: Network, path: Path) -> None:
    """Give the network the weights in a file; raises `JobError` unless names and shapes are its own."""
    from jobs import network as networks  # noqa: PLC0415  # it imports Keras
    from jobs import weights  # noqa: PLC0415  # NumPy, not needed to complain of an option

    arrays = weights.load(path)
    own = networks.weights(network.model)
    if more := sorted(arrays.keys() - own.keys()):
        raise JobError(f"{path} has {more[0]}, which this network has not: is it another model's?")
    try:
        networks.set_weights(network.model, arrays)
    except JobError as error:
        raise JobError(f"{path}: {error}") from error


def _told(own: Path, verdict: Verdict, name: str) -> dict[str, Any]:
    """How the weights in a file do on held-out rows; `name` is what the error is called."""
    digest = hashlib.sha256(own.read_bytes()).hexdigest()
    return {f"test_{name}": verdict.error, "test_cost": verdict.cost, "sha256": digest}


def _judge(config: Config, network: Network, test: Rows, heldout: Dataset) -> dict[str, Any] | None:
    """How the champion does on the rows of `test`, which `heldout` has as they were read; `None`: there is none.

    The network has the champion's weights afterwards. One that does not fit is told of, and is no fault of the job.
    """
    folder = config.champion_dir
    if folder is None or not folder.is_dir():
        return None
    path = found(folder)
    if path is None:
        return {"problem": f"there are no {', '.join(NAMES)} in {folder}"}
    try:
        begin_with(network, path)
        verdict = network.evaluate(_seen(config, network, test, heldout))
    except JobError as error:
        return {"problem": str(error)}
    return _told(path, verdict, network.objective.ERROR)


def _seen(config: Config, network: Network, test: Rows, heldout: Dataset) -> Rows:
    """The rows as the champion sees them: what was learnt from its own training rows is done to the inputs."""
    from jobs import inputs  # noqa: PLC0415  # NumPy

    transform = inputs.load(config.champion_dir or Path(), config.inputs)
    if transform is None:
        return test
    return network.rows(inputs.apply(transform, heldout).test_x, heldout.test_y)


def _bytes(array: NDArray[Any]) -> memoryview | bytes:
    return array.data if array.flags.c_contiguous else array.tobytes()
