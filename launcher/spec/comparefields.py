"""The section `compare` of a spec, as pydantic checks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from launcher.domain import CitedLeg, ComparisonWish, Device, FloatX
from launcher.spec import citing, comparing, values

Word = TypeVar("Word")


def _each(parse: Callable[[object], Word], words: object) -> tuple[Word, ...]:
    found = tuple(parse(word) for word in values.listed(words))
    if len(set(found)) < len(found):
        raise ValueError("a word is there twice, expected each once")
    return found


def _device(value: object) -> Device:
    return values.one_of(value, Device)


def _floatx(value: object) -> FloatX:
    return values.one_of(value, FloatX)


def _devices(value: object) -> tuple[Device, ...]:
    return _each(_device, value)


def _floatxs(value: object) -> tuple[FloatX, ...]:
    return _each(_floatx, value)


def _backends(value: object) -> tuple[str, ...]:
    return _each(comparing.backend, value)


def _types(value: object) -> tuple[str, ...]:
    return _each(values.instance_type, value)


def _one_or_many(word: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"oneOf": [word, {"type": "array", "items": word, "uniqueItems": True}]})


Devices = Annotated[tuple[Device, ...], PlainValidator(_devices), _one_or_many({"enum": [*Device]})]
FloatXs = Annotated[tuple[FloatX, ...], PlainValidator(_floatxs), _one_or_many({"enum": [*FloatX]})]
Backends = Annotated[tuple[str, ...], PlainValidator(_backends), _one_or_many({"enum": [*comparing.BACKENDS]})]
Types = Annotated[tuple[str, ...], PlainValidator(_types), _one_or_many({"type": "string", "examples": ["g5.xlarge"]})]

_VALUES: dict[str, Any] = {"type": ["string", "number", "boolean", "array"]}
_SETTINGS: dict[str, Any] = {"type": "object", "additionalProperties": _VALUES, "minProperties": 1}
_SWEEP = WithJsonSchema({"oneOf": [_SETTINGS, {"type": "array", "items": _SETTINGS}]})
_LINES: dict[str, Any] = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number"]},
    "propertyNames": {"not": {"enum": [*citing.LEG_KEYS]}},
    "minProperties": 1,
}
_CITED_SECONDS: dict[str, Any] = {"type": "number", "exclusiveMinimum": 0}
_CITED_LEG: dict[str, Any] = {
    "type": "object",
    "required": ["device"],
    "additionalProperties": False,
    "anyOf": [{"required": [key]} for key in citing.FIGURES],
    "properties": {
        "device": {"enum": [*Device]},
        "floatx": {"enum": [*FloatX]},
        "backend": {"enum": [*comparing.BACKENDS]},
        "at": _SETTINGS,
        "seconds": _CITED_SECONDS,
        "elapsed_seconds": _CITED_SECONDS,
        "error": {"type": ["string", "number"], "examples": ["5.8 %", 0.058]},
        "by": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1},
    },
}
_CITED = WithJsonSchema({"anyOf": [_LINES, _CITED_LEG, {"type": "array", "items": {"anyOf": [_LINES, _CITED_LEG]}}]})
_TITLE = WithJsonSchema({"type": "string", "minLength": 1})
_PLACE = WithJsonSchema({"type": "string", "examples": ["same", "best", "local", "local+aws", "ssh://me@box"]})
_REPEATS = WithJsonSchema({"type": "integer", "minimum": 1, "maximum": comparing.MAX_REPEATS})
_TARGET = WithJsonSchema({"type": "number", "exclusiveMinimum": 0})


class CompareFields(BaseModel):
    """What `gpurun compare-cpu-gpu` does with the job; its options are over this."""

    model_config = ConfigDict(extra="forbid")

    title: Annotated[str, PlainValidator(comparing.title), _TITLE] = Field(
        default="", description="What the table and the page are headed with."
    )
    devices: Devices = Field(default=(), description="cpu, gpu, or both, the default.")
    floatx: FloatXs = Field(default=(), description="The floating-point types; left out: the job's own.")
    backends: Backends = Field(default=(), description="tensorflow, jax, torch; left out: as the job has it.")
    on: Annotated[str, PlainValidator(comparing.places), _PLACE] = Field(
        default="", description="same, best, local, ssh://user@host, or two places: local+aws."
    )
    instance_types: Types = Field(default=(), description="One run on each of these.")
    repeat: Annotated[int | None, PlainValidator(comparing.repeats), _REPEATS] = Field(
        default=None, description="How often each way is run, in turn with the others."
    )
    target: Annotated[float | None, PlainValidator(comparing.target), _TARGET] = Field(
        default=None, description="An error: how long each way takes to get there."
    )
    sweep: Annotated[tuple[comparing.Point, ...], PlainValidator(comparing.points), _SWEEP] = Field(
        default=(), description="Settings of the job with their values, or a list of points."
    )
    cited: Annotated[tuple[citing.Line | CitedLeg, ...], PlainValidator(citing.cited), _CITED] = Field(
        default=(), description="Figures from elsewhere, shown beside the measured ones: lines, or those of a leg."
    )


def wish(fields: CompareFields) -> ComparisonWish:
    """The section as the domain holds it."""
    return ComparisonWish(
        title=fields.title,
        devices=fields.devices,
        floatx=fields.floatx,
        backends=fields.backends,
        on=fields.on,
        instance_types=fields.instance_types,
        repeats=fields.repeat,
        target=fields.target,
        points=fields.sweep,
        cited=tuple(each for each in fields.cited if not isinstance(each, CitedLeg)),
        cited_legs=tuple(each for each in fields.cited if isinstance(each, CitedLeg)),
    )
