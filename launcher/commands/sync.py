"""`gpurun sync`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.commands import options, session
from launcher.errors import NoPython, SpecError, TransferError
from launcher.ports import Lines

if TYPE_CHECKING:
    from launcher.commands.syncview import Section
    from launcher.live import LiveRun


def command(
    target: Annotated[
        str,
        typer.Argument(
            help="A run, whose machine is brought up to date; with --dry-run a spec, a script or a folder.",
            metavar="RUN|SPEC|DIR",
        ),
    ] = ".",
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would go up, send nothing.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Every name, not the largest alone.")] = False,
    as_json: options.Json = False,
) -> None:
    """Bring a run's machine up to date with the code and data here; or list what would go up, with sizes.

    \b
    gpurun sync last               what has changed, to the last run's machine (its job must have ended)
    gpurun sync --dry-run          the spec gpurun.yaml here, or this folder
    gpurun sync --dry-run --all    every file, folder and link
    """
    if not dry_run:
        _send(target, as_json=as_json)
        return
    from launcher.commands import syncview

    sections = _sections(target)
    if as_json:
        syncview.print_json(sections, everything=everything)
    else:
        syncview.print_text(sections, everything=everything)


def _send(target: str, *, as_json: bool) -> None:
    if target == "." or Path(target).exists():
        shown = "" if target == "." else f" {target}"
        raise SpecError(
            "gpurun sync sends to the machine of a run, and none is named",
            hint=f"gpurun sync{shown} --dry-run lists what would go up; gpurun sync RUN sends it (gpurun status)",
        )
    from launcher.attach import reach
    from launcher.prepare import pack
    from launcher.send import send_all

    with session.ledger() as book, session.reporter(as_json=as_json) as reporter:
        live = session.live_run(book.resolve(target), book, reporter)
        try:
            lines = reach(live)
            _refuse_running(live, lines)
            luggage = pack(live.spec, lambda: live.aws)
            for line in luggage.surprises:
                reporter.warn(line)
            send_all(live, lines, luggage)
        finally:
            live.hang_up()


def _refuse_running(live: LiveRun, lines: Lines) -> None:
    """Raise `TransferError` while the job runs: the machine would refuse all of it, but only in the end."""
    from launcher.attach import CONNECT_TIMEOUT_S
    from launcher.sync import remote_agent

    try:
        report = remote_agent.report(lines.control.fresh(CONNECT_TIMEOUT_S), live.layout)
    except NoPython:  # no job can run there
        return
    if report.state in {"starting", "running"}:
        raise TransferError(
            f"the job of run {live.run_id} is running: its code and data cannot change under it",
            hint=f"wait until it has ended (gpurun logs {live.run_id}), "
            f"or end it and its machine: gpurun stop {live.run_id}",
        )


def _sections(target: str) -> list[Section]:
    from launcher.commands.syncview import Section
    from launcher.sync.local import ignore, tree
    from launcher.sync.local.private_keys import without_private_keys
    from launcher.sync.local.surprise import surprise

    workdir, data = _what_goes(target)
    code = without_private_keys(tree.scan(workdir, ignore=ignore.rules(workdir)))
    sections = [Section("code", str(workdir), code, surprise(code))]
    if isinstance(data, Path):
        sections.append(Section("data", str(data), tree.scan(data, ignore=ignore.nothing()), []))
    elif data:
        sections.append(Section("data", data, None, []))
    return sections


def _what_goes(target: str) -> tuple[Path, Path | str | None]:
    """The folder of code and the data that the command line means."""
    from launcher.commands.launch import read_spec
    from launcher.spec.loading import DEFAULT_NAME

    path = Path(target)
    if path.is_dir():
        if not (path / DEFAULT_NAME).is_file():
            return path.absolute(), None
        path = path / DEFAULT_NAME
    elif not path.exists() and path.name == target and not path.suffix:
        raise SpecError(
            f"{target} is no folder, spec or script here; a run's machine is not looked at by --dry-run",
            hint="gpurun sync --dry-run for what would go up from this folder",
        )
    spec = read_spec(str(path), [], {})
    return spec.workdir, spec.data
