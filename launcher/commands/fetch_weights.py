"""`gpurun fetch-weights`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from launcher.commands import options, session
from launcher.errors import GpurunError, HostUnreachable, MachineGone, RemoteError, SpecError, WeightsError

if TYPE_CHECKING:
    from launcher.aws.durable import Generation
    from launcher.ledger import Ledger, RunRecord
    from launcher.live import LiveRun
    from launcher.shipments import Shipment

_FORMATS = ("pkl", "npz", "safetensors")


Which = Annotated[
    str,
    typer.Argument(help="A run's id, a beginning of it, its name, 'last'; or NAME@champion, NAME@3.", metavar="RUN"),
]


def command(
    run: Which = "last",
    *,
    to: Annotated[Path | None, typer.Option(help="Folder for the files; default: the run's own.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="pkl, npz or safetensors.")] = None,
    store: Annotated[
        str | None, typer.Option(help="Of NAME@VERSION: DIR or s3://BUCKET/PREFIX.", metavar="PLACE")
    ] = None,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    as_json: options.Json = False,
) -> int:
    """Bring weights home: the latest checkpoint during a run, the results after it, a version of `gpurun weights`."""
    from launcher import render, weights

    if format_ is not None and format_ not in _FORMATS:
        raise SpecError(f"--format {format_}: expected one of {', '.join(_FORMATS)}")
    if "@" in run:
        from launcher.commands import registered

        there = registered.registry(store, sandbox=sandbox, profile=profile)
        registered.fetch(there, run, to, format_, as_json=as_json)
        return 0
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
    """Where the files lie once they are home: from the machine while it lives, else the newest kept anywhere."""
    from launcher import weights

    if to is not None:
        weights.target_folder(to)
    results = Path(record.results_dir)
    with session.reporter() as reporter:
        if record.status.final and _all_home(record, book):
            return _copied(results, to) if to else results
        live = session.live_run(record, book, reporter)
        gone = None if record.status.final else _from_machine(live, to or results)
        if record.status.final or gone is not None:
            _from_store(live, to or results, gone)
        return to or results


def _all_home(record: RunRecord, book: Ledger) -> bool:
    """Whether everything came home and lies there still, or nothing lies anywhere else."""
    fetched = any(event.kind == "fetched" for event in book.events(record.run_id))
    return (fetched and Path(record.results_dir).is_dir()) or not _in_s3(record)


def _in_s3(record: RunRecord) -> bool:
    from launcher import outputs, spec

    return outputs.store(spec.restore(record.spec)) is not None


def _from_machine(live: LiveRun, destination: Path) -> RemoteError | None:
    """Bring everything from the run's machine; gives why it could not be reached."""
    from launcher.attach import reach
    from launcher.fetch import pull_everything

    try:
        reach(live)
        pull_everything(live, destination)
    except (MachineGone, HostUnreachable) as error:
        return error
    finally:
        live.hang_up()
    return None


def _from_store(live: LiveRun, destination: Path, gone: RemoteError | None) -> None:
    """Bring the newest of what came home while the job ran and what its machine sent to S3; raises `gone` for none."""
    from launcher import outputs
    from launcher.shipments import Shipments

    home = Shipments(live.paths.shipments).newest()
    there = _in_store(live, home)
    if there is None and home is None:
        if gone is not None:
            raise gone
        _copied(Path(live.record.results_dir), destination)
        return
    if gone is not None:
        live.reporter.warn(f"{gone.message}; these are what was saved last")
    if there is not None:
        outputs.lay_out(live, destination)
    elif home is not None:
        outputs.lay_out_home(home, destination)


def _in_store(live: LiveRun, home: Shipment | None) -> Generation | None:
    """What S3 has that is newer; where S3 does not say, what is home must do. Raises its error where nothing is."""
    from launcher import outputs

    try:
        return outputs.newer(live, home)
    except GpurunError as error:
        if home is None:
            raise
        live.reporter.warn(f"{outputs.store(live.spec)} could not be asked: {error.message}; these are from home")
        return None


def _copied(results: Path, to: Path) -> Path:
    from launcher import weights

    if not results.is_dir():
        raise WeightsError(
            f"the results folder {results} is not there any more",
            hint="nothing of the run lies anywhere else: outputs: s3://bucket/prefix in a spec keeps a copy",
        )
    if to == results:
        return to
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
