"""What the command line of a comparison means: whose job, and which ways to run it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from launcher.compare.legs import MODEL, Axes
from launcher.domain import ComparisonWish, Device, FloatX, JobSpec, Requirements
from launcher.errors import SpecError
from launcher.spec import comparing, values
from launcher.spec.mistakes import nearest

Word = TypeVar("Word")
SPEC_SUFFIXES = {".yaml", ".yml"}
CATALOGUE = Path("jobs", "catalogue.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """The options that say what is compared, as they were given; `None` or empty: not given."""

    floatx: str | None = None
    devices: str | None = None
    backend: str | None = None
    on: str | None = None
    instance_types: str | None = None
    repeat: int | None = None
    target: float | None = None
    sweep: tuple[str, ...] = ()


def read(words: Sequence[str], arguments: dict[str, Any]) -> tuple[JobSpec, tuple[str, ...]]:
    """The job, with `arguments` (as of `launch`) over it, and the models where several are named.

    What begins with a dash ends the models: it goes to each of their trainings. Raises `SpecError`.
    """
    from launcher.commands.launch import read_spec

    first = words[0] if words else "gpurun.yaml"
    if not words or _is_file(first):
        return read_spec(first, [*words[1:]], arguments), ()
    count = next((number for number, word in enumerate(words) if word.startswith("-")), len(words))
    models, rest = words[:count], words[count:]
    _check_models(models)
    from launcher import spec as specs

    name = models[0] if len(models) == 1 else "models"
    program = ("python", "-m", "jobs", "train", models[0] if len(models) == 1 else f"{{{MODEL}}}")
    job = JobSpec(
        name=values.slug(name), argv=(*program, *rest), workdir=Path.cwd(), resources=Requirements(gpu_count=1)
    )
    given: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in arguments.items() if value is not None
    }
    return specs.override(job, specs.Overrides(**given)), tuple(models) if len(models) > 1 else ()


def wish(spec: JobSpec, flags: Flags) -> ComparisonWish:
    """The spec's wishes with the flags over them; every mistake is told at once, in `SpecError.problems`."""
    mistakes: list[str] = []

    def take(flag: str, given: object, parse: Callable[[Any], Word], otherwise: Word) -> Word:
        try:
            return otherwise if given in {None, ()} else parse(given)
        except ValueError as fault:
            mistakes.append(f"{flag}: {fault}")
            return otherwise

    asked = spec.compare
    found = replace(
        asked,
        floatx=take("--floatx", flags.floatx, _words(lambda word: values.one_of(word, FloatX)), asked.floatx),
        devices=take("--devices", flags.devices, _words(lambda word: values.one_of(word, Device)), asked.devices),
        backends=take("--backend", flags.backend, _words(comparing.backend), asked.backends),
        on=take("--on", flags.on, comparing.places, asked.on),
        instance_types=take(
            "--instance-types", flags.instance_types, _words(values.instance_type), asked.instance_types
        ),
        repeats=take("--repeat", flags.repeat, comparing.repeats, asked.repeats),
        target=take("--target", flags.target, comparing.target, asked.target),
        points=take("--sweep", flags.sweep, _points, asked.points),
    )
    if flags.on and not flags.instance_types:  # a place that was named now, over types that the spec names
        found = replace(found, instance_types=())
    if mistakes:
        message = mistakes[0] if len(mistakes) == 1 else f"{len(mistakes)} flags are wrong"
        raise SpecError(message, hint="see `gpurun compare-cpu-gpu --help`", problems=tuple(mistakes))
    return found


def axes(spec: JobSpec, asked: ComparisonWish, models: Sequence[str]) -> Axes:
    """What the legs are made of: both devices and the job's own floatX, unless it is said otherwise."""
    return Axes(
        devices=asked.devices or (Device.CPU, Device.GPU),
        floatx=asked.floatx or (spec.floatx,),
        backends=asked.backends or ("",),
        models=tuple(models) or ("",),
        points=asked.points or ((),),
    )


def _is_file(word: str) -> bool:
    path = Path(word)
    return path.suffix in SPEC_SUFFIXES or "/" in word or "." in word or path.is_file()


def _check_models(models: Sequence[str]) -> None:
    """Raise `SpecError` for a model that `python -m jobs` does not have, or where the jobs are not here."""
    if not CATALOGUE.is_file():
        raise SpecError(
            f"there is no file {models[0]}, and for a model of that name no folder jobs/ here",
            hint="name a spec or a script, or call it in the folder that jobs/ lies in",
        )
    known = _models(CATALOGUE.read_text(encoding="utf-8"))
    for model in models:
        if known and model not in known:
            near = nearest(model, known) or f", expected one of {', '.join(known)}"
            raise SpecError(f"there is no model {model!r}{near}", hint="python -m jobs list")
    if len(set(models)) < len(models):
        raise SpecError("a model is named twice", hint="name each model once")


def _models(source: str) -> tuple[str, ...]:
    """The names in the catalogue, read and not run; none where it is written otherwise than ours."""
    try:
        assigned = [each for each in ast.parse(source).body if isinstance(each, ast.Assign | ast.AnnAssign)]
    except SyntaxError:
        return ()
    for each in assigned:
        target = each.target if isinstance(each, ast.AnnAssign) else each.targets[0]
        if isinstance(target, ast.Name) and target.id == "MODELS" and each.value is not None:
            found = [node for node in ast.walk(each.value) if isinstance(node, ast.Dict)]
            keys = found[0].keys if found else []
            return tuple(key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str))
    return ()


def _words(parse: Callable[[str], Word]) -> Callable[[str], tuple[Word, ...]]:
    def parsed(text: str) -> tuple[Word, ...]:
        found = tuple(parse(word.strip()) for word in text.split(","))
        if len(set(found)) < len(found):
            raise ValueError(f"{text} has a word twice, expected each once")
        return found

    return parsed


def _points(texts: tuple[str, ...]) -> tuple[comparing.Point, ...]:
    return comparing.combined([comparing.sweep_flag(text) for text in texts])
