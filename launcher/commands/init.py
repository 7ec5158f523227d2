"""`gpurun init`."""

from __future__ import annotations

import json
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
    if path.exists() and not force:
        raise SpecError(f"{path} is there already", hint=f"gpurun init --force {path} writes over it")
    if not path.parent.is_dir():
        raise SpecError(f"the folder {path.parent} is not there", hint=f"mkdir -p {path.parent}")
    path.write_text(spec.template(path.absolute().parent.name))
    sys.stderr.write(f"wrote {path}; next: edit run:, then gpurun launch --dry-run {path}\n")
