"""From a YAML file to a JobSpec, or to all that is wrong with it."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from launcher.domain import JobSpec
from launcher.errors import SpecError
from launcher.spec import document, values
from launcher.spec.comparefields import wish
from launcher.spec.mistakes import dotted, nearest, printable
from launcher.spec.models import Base, SpecFields, limits, requirements, ssh_options

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from launcher.spec.document import Document
    from launcher.spec.mistakes import Where

DEFAULT_NAME = "gpurun.yaml"


def load(path: Path) -> JobSpec:
    """Read a spec.

    Every mistake is told at once: `SpecError.problems` has one line each,
    `file:line:column: field: what was wrong, what is expected`.
    """
    if path.is_dir():
        path = path / DEFAULT_NAME
    try:
        source = document.read(path)
    except OSError as fault:
        raise _unreadable(path, fault) from fault
    folder = path.absolute().parent
    fields = _validate(source, folder)
    source.raise_mistakes()
    assert fields is not None  # noqa: S101 - for the type checker: without fields there are mistakes
    return _job(fields, folder, default_name=values.slug(folder.name if path.stem == "gpurun" else path.stem))


def _validate(source: Document, folder: Path) -> SpecFields | None:
    try:
        return SpecFields.model_validate(source.values, context=Base(folder))
    except ValidationError as fault:
        for error in fault.errors(include_url=False):
            _report(source, error)
    return None


def _report(source: Document, error: ErrorDetails) -> None:
    where: Where = tuple(part for part in error["loc"] if part != "[key]")
    kind = error["type"]
    if kind == "extra_forbidden":
        known = _fields_of(where[:-1])
        hint = nearest(str(where[-1]), known) or f", expected one of {', '.join(known)}"
        source.report(where, f"unknown field{hint}", at_key=True)
    elif kind == "missing":
        # A value that YAML itself could not take is told already.
        if all(mistake.field != dotted(where) for mistake in source.mistakes):
            source.report(where, "missing, expected a script or a list such as [python, train.py]")
    elif kind == "value_error":
        source.report(where, str(error["ctx"]["error"]), at_key="[key]" in error["loc"])
    else:
        fields = ", ".join(_fields_of(where))
        expected = f"a mapping of {fields}" if fields else "a mapping of `name: value` lines"
        source.report(where, f"not a mapping, expected {expected}")


def _fields_of(where: Where) -> list[str]:
    model: Any = SpecFields
    for part in where:
        field = model.model_fields.get(part) if model else None
        model = next((each for each in _models(field.annotation) if field), None) if field else None
    return list(model.model_fields) if model else []


def _models(annotation: Any) -> list[type[BaseModel]]:
    kinds = (annotation, *get_args(annotation))
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]


def _unreadable(path: Path, fault: OSError) -> SpecError:
    name = printable(path)
    if isinstance(fault, FileNotFoundError):
        near = _near_specs(path)
        meant = f"; did you mean {near}?" if near else ""
        return SpecError(f"there is no spec {name}{meant}", hint="write one with `gpurun init`")
    return SpecError(f"cannot read {name}: {fault.strerror or fault}", hint=f"see `ls -l {name}`")


def _near_specs(path: Path) -> str:
    try:
        specs = sorted(each.name for each in path.parent.iterdir() if each.suffix in {".yaml", ".yml"})
    except OSError:
        return ""
    return " or ".join(get_close_matches(path.name, specs, n=3, cutoff=0.4) or specs[:3])


def _job(fields: SpecFields, folder: Path, *, default_name: str) -> JobSpec:
    return JobSpec(
        name=fields.name or default_name,
        argv=fields.run if isinstance(fields.run, tuple) else (),
        script=fields.run if isinstance(fields.run, str) else "",
        workdir=fields.workdir or folder,
        data=fields.data,
        env=fields.env,
        secrets=fields.secrets,
        device=fields.device,
        floatx=fields.floatx,
        resources=requirements(fields.resources, fields.device),
        limits=limits(fields.limits),
        outputs=fields.outputs,
        checkpoint=fields.checkpoint,
        keep_on_failure_s=fields.keep_on_failure,
        ssh=ssh_options(fields.ssh),
        compare=wish(fields.compare),
    )
