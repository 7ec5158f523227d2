"""A finished run's weights as a new version, with all that is known of the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher import spec, weights
from launcher.domain import RunStatus
from launcher.errors import GpurunError, SpecError, WeightsError
from launcher.paths import OWN_FOLDER, StatePaths
from launcher.registry import code, data
from launcher.registry.registry import Registry
from launcher.registry.version import About, Version

if TYPE_CHECKING:
    from launcher.aws.client import Aws
    from launcher.ledger import Ledger, RunRecord

RESULT_NAME = "result.json"
MAX_RESULT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a user may say of it."""

    name: str | None = None
    """The model's; `None`: the run's."""
    parent: int | None = None
    """The version that it was trained on from."""
    include: tuple[str, ...] = ()
    """Globs of further files below the results."""
    patch: bool = True
    """Whether the code's changes since its commit are kept."""
    accept_failed: bool = False
    """Whether a run that did not succeed will do."""


def enrol(
    registry: Registry,
    record: RunRecord,
    book: Ledger,
    state: StatePaths,
    *,
    wish: Wish | None = None,
    cloud: Callable[[], Aws] | None = None,
) -> Version:
    """Add what a run brought home as a challenger; the same run again gives the version that it has.

    `cloud` is asked where the run's data lies in S3. Raises
    `SpecError` for a run that is not over or did not succeed, `WeightsError` for one without weights, or with weights
    that are more than names and arrays.
    """
    wish = wish or Wish()
    _check_over(record, accept_failed=wish.accept_failed)
    results = Path(record.results_dir)
    files = _files(results, _own_name(record, book), wish.include)
    notes: list[str] = []
    metrics = _result(results, notes)
    job = spec.restore(record.spec)
    made_by = code.describe(job.workdir, state.run(record.run_id).pedigree)
    aws = cloud if isinstance(job.data, str) else None
    facts, data_notes = data.describe(job.data, record.created_at, _cloud(aws, notes))
    about = About(
        run_id=record.run_id,
        parent=wish.parent,
        spec=json.loads(record.spec),
        code=made_by.facts,
        data=facts,
        metrics=metrics,
        receipt=json.loads(record.receipt) if record.receipt else {},
        notes=(*notes, *made_by.notes, *data_notes),
    )
    return registry.add(wish.name or record.name, files, about, diff=made_by.patch if wish.patch else b"")


def _check_over(record: RunRecord, *, accept_failed: bool) -> None:
    if not record.status.final:
        raise SpecError(
            f"run {record.run_id} is not over: {record.status}", hint=f"gpurun resume {record.run_id}, then add it"
        )
    if record.status is not RunStatus.SUCCEEDED and not accept_failed:
        raise SpecError(
            f"run {record.run_id} {record.status}: its weights may be those of a training that was cut off",
            hint=f"gpurun weights add {record.run_id} --accept-failed, if they are good",
        )


def _files(results: Path, own: str, include: tuple[str, ...]) -> dict[str, Path]:
    if not results.is_dir():
        raise WeightsError(
            f"the results folder {results} is not there any more",
            hint="gpurun fetch-weights brings them, where S3 has them",
        )
    found = [path for path in weights.find(results) if path.relative_to(results).parts[0] != own]
    if not found:
        raise WeightsError(
            f"no weights in {results}: no .pkl, .npz or .safetensors file",
            hint="the job must save them to $GPURUN_OUTPUT_DIR; gpurun fetch-weights shows what came home",
        )
    more = [path for glob in include for path in sorted(_matching(results, glob)) if path.is_file()]
    beside = [results / RESULT_NAME] if (results / RESULT_NAME).is_file() else []
    return {path.relative_to(results).as_posix(): path for path in sorted([*found, *beside, *more])}


def _matching(results: Path, glob: str) -> list[Path]:
    try:
        found = list(results.glob(glob)) if ".." not in Path(glob).parts else []
    except (ValueError, NotImplementedError):
        found = []
    if not found:
        raise SpecError(f"--include {glob}: nothing below {results} is called so", hint=f"see `ls -R {results}`")
    return found


def _own_name(record: RunRecord, book: Ledger) -> str:
    """The folder of ours beside the results: the job's checkpoint there is no result."""
    told = [event.data for event in book.events(record.run_id) if event.kind == "fetched"]
    return str(told[-1].get("own") or OWN_FOLDER) if told else OWN_FOLDER


def _result(results: Path, notes: list[str]) -> dict[str, Any]:
    path = results / RESULT_NAME
    if not path.is_file():
        notes.append(f"the run wrote no {RESULT_NAME}: its metrics are unknown")
        return {}
    try:
        # One that is larger ends in the middle, and is no JSON.
        with path.open("rb") as file:
            found = json.loads(file.read(MAX_RESULT_BYTES))
    except (OSError, ValueError, RecursionError) as error:
        notes.append(f"{RESULT_NAME} could not be read: {error}")
        return {}
    if not isinstance(found, dict):
        notes.append(f"{RESULT_NAME} is no table")
        return {}
    return found


def _cloud(make: Callable[[], Aws] | None, notes: list[str]) -> Aws | None:
    try:
        return make() if make else None
    except GpurunError as error:
        notes.append(f"the cloud could not be asked about the data: {error.message}")
        return None
