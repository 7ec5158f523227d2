"""`gpurun init`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from launcher.errors import SpecError


def command(
    path: Annotated[Path, typer.Argument(help="Where to write the spec.")] = Path("gpurun.yaml"),
    *,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema for editors instead.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a commented spec to start from."""
    from launcher import spec

    if schema:
        sys.stdout.write(json.dumps(spec.json_schema(), indent=2) + "\n")
        return
    try:
        _check_target(path, force=force)
        _write(path, spec.template(path.absolute().parent.name))
    except OSError as fault:
        message = f"cannot write {path}: {fault.strerror or fault}"
        raise SpecError(message, hint=f"see `ls -ld {path.parent}`, or name another place: gpurun init FILE") from fault
    sys.stderr.write(f"wrote {path}; next: edit run:, then gpurun launch --dry-run {path}\n")


def _check_target(path: Path, *, force: bool) -> None:
    if path.is_dir():
        raise SpecError(f"{path} is a folder, expected a file", hint=f"gpurun init {path / 'gpurun.yaml'}")
    if path.exists() and not force:
        raise SpecError(f"{path} is there already", hint=f"gpurun init --force {path} writes over it")
    if not path.parent.is_dir():
        raise SpecError(f"the folder {path.parent} is not there", hint=f"mkdir -p {path.parent}")


def _write(path: Path, text: str) -> None:
    """Whole or not at all; where the path is a link, the file that it leads to."""
    target = path.resolve()
    part = target.with_name(f".gpurun-init.{os.getpid()}.part")
    try:
        with part.open("x", encoding="utf-8") as file:
            file.write(text)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
