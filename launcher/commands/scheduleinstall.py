"""`gpurun schedule install` and `uninstall`: this machine's own scheduler keeps the time."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from launcher.commands import options, session
from launcher.errors import GpurunError, SpecError

if TYPE_CHECKING:
    from launcher.schedule.timer.entry import Entry
    from launcher.schedule.timer.kinds import Timer
    from launcher.schedule.timer.plan import Found, Plan


def install(
    *,
    with_: Annotated[
        str | None,
        typer.Option("--with", help="systemd, crontab or launchd; default: what this machine has.", metavar="KIND"),
    ] = None,
    every: Annotated[int, typer.Option(help="Minutes between two passes, 1 to 4.", metavar="MINUTES")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written and run; do nothing.")] = False,
    yes: options.Yes = False,
    as_json: options.Json = False,
) -> None:
    """Have this machine's own scheduler launch what is due, from now on; shows it all first."""
    from launcher.schedule.timer import entry as entries
    from launcher.schedule.timer import kinds

    _check_every(every)
    chosen = kinds.usable(with_, session.state())
    entry = entries.make(session.state(), every)
    plan, before = chosen.plan(entry), chosen.found()
    same = before is not None and chosen.in_force(plan)
    warnings = [*entry.warnings, *_missing(), *_replaced(before, entry), *_twice(chosen)]
    if not as_json:
        _show(plan, same=same)
    for warning in warnings:
        sys.stderr.write(f"warning: {warning}\n")
    if not dry_run and not same:
        if not _confirmed(skip=yes):
            sys.stderr.write("nothing was done\n")
            return
        chosen.install(plan)
    if not dry_run:
        told = chosen.warnings()
        warnings += told
        for warning in told:
            sys.stderr.write(f"warning: {warning}\n")
    if as_json:
        _print_json(plan, entry, installed=not dry_run or same, changed=not (same or dry_run), warnings=warnings)
    elif not dry_run:
        _tell(chosen, same=same)


def uninstall(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed; do nothing.")] = False,
    as_json: options.Json = False,
) -> int:
    """Remove all that install has written, of whichever kind; runs that go on are left alone."""
    from launcher import render
    from launcher.commands import keeperview
    from launcher.schedule.timer import kinds

    gone: list[str] = []
    failed: list[str] = []
    for each in kinds.every():
        found = _found(each)
        if found is None or _left_alone(found):
            continue
        if not as_json:
            typer.echo(f"{'would remove' if dry_run else 'removing'} {keeperview.named(found)} from {found.where}")
        try:
            gone += (found.where, str(found.script)) if dry_run else each.remove(found)
        except (GpurunError, OSError) as fault:
            failed.append(f"{each.kind} is not removed whole: {fault}")
    if as_json:
        render.print_json({"removed": gone, "dry_run": dry_run, "failed": failed}, indent=1)
    else:
        lines = [f"  {each}" for each in gone] or ([] if failed else ["nothing of gpurun's is installed"])
        sys.stdout.writelines(f"{line}\n" for line in lines)
    if failed and not as_json:
        raise SpecError("; ".join(failed), hint="gpurun schedule uninstall, once that is mended: it goes on from there")
    return SpecError.exit_code if failed else 0


def _check_every(minutes: int) -> None:
    from launcher.schedule.timer.entry import LONGEST_EVERY_MIN

    if not 1 <= minutes <= LONGEST_EVERY_MIN:
        raise SpecError(
            f"--every {minutes}: expected 1 to {LONGEST_EVERY_MIN} minutes; what is launched later counts as missed",
            hint="--every 1: a pass that finds nothing due takes less than a second",
        )


def _found(timer: Timer) -> Found | None:
    """Its entry; one that nobody can look at is told."""
    try:
        return timer.found()
    except GpurunError as error:
        sys.stderr.write(f"warning: {error.message}\n")
        return None


def _left_alone(found: Found) -> bool:
    """Whether it keeps the time of another state folder, and still does."""
    home = found.script.parent.parent
    if found.of(session.state()) or not found.script.is_file():
        return False
    command = f"XDG_STATE_HOME={shlex.quote(str(home.parent))} gpurun schedule uninstall"
    sys.stderr.write(f"warning: {found.where} keeps the time of {home}, and is left alone; next: {command}\n")
    return True


def _missing() -> list[str]:
    """What launches would find here, and not where the scheduler starts them."""
    from launcher.schedule.timer.carried import CREDENTIALS, left_behind

    names = left_behind(os.environ)
    keys = [name for name in names if name in CREDENTIALS]
    told = []
    if keys:
        told.append(
            f"{', '.join(keys)}: secrets are not written into an entry, and its launches on AWS will not have them;"
            " next: aws configure, or AWS_PROFILE=NAME gpurun schedule install"
        )
    told += [f"{name} has a password in it and is not written into the entry" for name in names if name not in keys]
    return [*told, *_secrets_of_specs()]


def _secrets_of_specs() -> list[str]:
    from launcher import spec as specs

    told = []
    with session.ledger() as book:
        for schedule in book.schedules.list():
            try:
                names = specs.load(Path(schedule.spec)).secrets
            except GpurunError as error:
                told.append(f"{schedule.name}: {error.message}")
                continue
            if names:
                told.append(
                    f"{schedule.name}: {schedule.spec} wants {', '.join(names)} of the environment, which the entry"
                    " does not have: its runs need gpurun schedule daemon, started where they are set"
                )
    return told


def _replaced(before: Found | None, entry: Entry) -> list[str]:
    if before is None or before.of(entry.state):
        return []
    return [
        f"the entry that is there keeps the time of {before.script.parent.parent}: nobody will, once it is replaced"
    ]


def _twice(chosen: Timer) -> list[str]:
    from launcher.commands import keeperview
    from launcher.schedule.timer import kinds

    others = [found for each in kinds.every() if each.kind != chosen.kind and (found := _found(each)) is not None]
    return [
        f"{keeperview.named(each)} is there too; that is harmless, each tick is taken once;"
        " gpurun schedule uninstall removes it"
        for each in others
    ]


def _show(plan: Plan, *, same: bool) -> None:
    """Every byte that will be written, and every command that will be run."""
    if same:
        typer.echo("it is there already, to the byte; nothing is changed")
    for file in plan.all_files:
        typer.echo(f"{file.path}\n{_indented(os.fsdecode(file.content))}")
    if plan.line:
        typer.echo(f"the crontab, all other lines as they are\n{_indented(os.fsdecode(plan.line))}")
    typer.echo("commands")
    for command in plan.commands:
        typer.echo(f"    {shlex.join(command)}")


def _indented(text: str) -> str:
    return "".join(f"    {line}" for line in text.encode(errors="replace").decode().splitlines(keepends=True))


def _confirmed(*, skip: bool) -> bool:
    if skip:
        return True
    if not sys.stdin.isatty():
        raise SpecError("nobody is there to confirm it", hint="add --yes, or --dry-run to see it alone")
    return typer.confirm("Install this?", default=True, err=True)


def _tell(chosen: Timer, *, same: bool) -> None:
    commands = ("gpurun schedule list", *chosen.next())
    typer.echo("still installed, seen" if same else "installed, read back and seen")
    typer.echo(f"  next: {commands[0]} tells when it last called; {', '.join(commands[1:])}")
    typer.echo("  undo: gpurun schedule uninstall")


def _print_json(plan: Plan, entry: Entry, *, installed: bool, changed: bool, warnings: list[str]) -> None:
    from launcher import render

    told: dict[str, Any] = {
        "with": plan.kind,
        "every_minutes": entry.every_min,
        "state": str(entry.state.home),
        "installed": installed,
        "changed": changed,
        "files": [{"path": str(each.path), "text": os.fsdecode(each.content)} for each in plan.all_files],
        "line": os.fsdecode(plan.line) or None,
        "commands": plan.commands,
        "warnings": warnings,
    }
    render.print_json(told, indent=1)
