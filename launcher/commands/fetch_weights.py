"""`gpurun fetch-weights`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from launcher.commands import options, session
from launcher.errors import SpecError, WeightsError

if TYPE_CHECKING:
    from launcher.ledger import Ledger, RunRecord

_FORMATS = ("pkl", "npz", "safetensors")


def command(
    run: options.Run = "last",
    *,
    to: Annotated[Path | None, typer.Option(help="Folder for the files; default: the run's own.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="pkl, npz or safetensors.")] = None,
    as_json: options.Json = False,
) -> int:
    """Bring weights home: the latest checkpoint during a run, the results after it, or again elsewhere."""
    from launcher import render, weights

    if format_ is not None and format_ not in _FORMATS:
        raise SpecError(f"--format {format_}: expected one of {', '.join(_FORMATS)}")
    with session.ledger() as book:
        record = book.resolve(run)
        folder = _folder(record, book, to)
        found = weights.find(folder)
        if not found:
            raise WeightsError(
                f"no weights in {folder}: no .pkl, .npz or .safetensors file",
                hint=f"gpurun logs {record.run_id} shows what the job wrote; it must save to $GPURUN_OUTPUT_DIR",
            )
        files = list(dict.fromkeys(_converted(path, folder, format_) for path in found))
        rows = [_row(path) for path in files]
    if as_json:
        render.print_json({"run_id": record.run_id, "folder": folder, "weights": rows}, indent=1)
    else:
        headers = ("file", "arrays", "values", "size")
        cells = [(row["file"], str(row["arrays"]), str(row["values"]), render.size(row["size_bytes"])) for row in rows]
        sys.stdout.write(render.table(headers, cells) + "\n")
    return 0


def _folder(record: RunRecord, book: Ledger, to: Path | None) -> Path:
    """Where the files lie once they are home."""
    results = Path(record.results_dir)
    if record.status.final:
        return _copied(results, to) if to else results
    from launcher import weights
    from launcher.attach import reach
    from launcher.fetch import pull_everything

    if to is not None:
        weights.target_folder(to)
    with session.reporter() as reporter:
        live = session.live_run(record, book, reporter)
        try:
            reach(live)
            return pull_everything(live, to or results)
        finally:
            live.hang_up()


def _copied(results: Path, to: Path) -> Path:
    from launcher import weights

    if not results.is_dir():
        raise WeightsError(f"the results folder {results} is not there any more")
    weights.target_folder(to)
    for path in weights.find(results):
        target = to / path.relative_to(results)
        target.parent.mkdir(parents=True, exist_ok=True)
        weights.copy(path, target)
    return to


def _converted(path: Path, folder: Path, format_: str | None) -> Path:
    from launcher import weights

    if format_ is None or path.suffix == f".{format_}":
        return path
    target = folder / path.relative_to(folder).with_suffix(f".{format_}")
    weights.convert(path, target, format_, overwrite=False)
    return target


def _row(path: Path) -> dict[str, Any]:
    from launcher import weights

    arrays = weights.load(path)
    return {
        "file": str(path),
        "arrays": len(arrays),
        "values": sum(array.size for array in arrays.values()),
        "size_bytes": path.stat().st_size,
    }
