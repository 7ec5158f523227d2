"""The spec's fields as pydantic checks them: every mistake at once, each with its place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Union

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from launcher.domain import Device, FloatX, Limits, Requirements, SpotPolicy, SshOptions
from launcher.spec import files, values
from launcher.spec.comparefields import CompareFields

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Base:
    """What relative paths are relative to."""

    folder: Path


def _based(info: ValidationInfo) -> Path:
    return info.context.folder if isinstance(info.context, Base) else Path.cwd()


def _folder(value: object, info: ValidationInfo) -> Path:
    return files.folder(value, _based(info))


def _file(value: object, info: ValidationInfo) -> Path:
    return files.file(value, _based(info))


def _data(value: object, info: ValidationInfo) -> Path | str:
    return files.data(value, _based(info))


def _outputs(value: object, info: ValidationInfo) -> Path | str:
    return files.outputs(value, _based(info))


def _device(value: object) -> Device:
    return values.one_of(value, Device)


def _floatx(value: object) -> FloatX:
    return values.one_of(value, FloatX)


def _text_schema(example: str, pattern: str = "") -> WithJsonSchema:
    schema: Schema = {"type": "string", "examples": [example]}
    return WithJsonSchema(schema | ({"pattern": pattern} if pattern else {}))


def _one_or_many(kind: Any) -> BeforeValidator:
    return BeforeValidator(values.listed, json_schema_input_type=Union[kind, tuple[kind, ...]])  # noqa: UP007 - a value


def _with_short_forms(schema: Schema) -> None:
    short: list[Schema] = [{"type": "string", "examples": ["t4", "a10g:2"]}, {"type": "integer", "minimum": 0}]
    schema["anyOf"] = [*short, {"const": False}, *schema["anyOf"]]


_POSITIVE: Schema = {"type": "number", "exclusiveMinimum": 0}
_HOURS = WithJsonSchema(_POSITIVE | {"maximum": values.MAX_HOURS})
_COST = WithJsonSchema(_POSITIVE | {"maximum": values.MAX_COST_USD})
_PRICE = WithJsonSchema(_POSITIVE | {"maximum": values.MAX_PRICE_USD_PER_HOUR})
_COUNT: Schema = {"type": "integer", "minimum": 0}
_SIZE = WithJsonSchema({"oneOf": [{"type": "string", "examples": ["16 GiB"]}, _POSITIVE]})
_DURATION: Schema = {"oneOf": [{"type": "string", "examples": ["30m", "1h 30m"]}, {"enum": [False, 0]}]}
_COMMAND: Schema = {
    "oneOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": ["string", "number", "boolean"]}, "minItems": 1},
    ]
}
_SPOT: Schema = {"enum": [True, False, "prefer"]}
_ENV: Schema = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}

Hours = Annotated[float, PlainValidator(values.hours), _HOURS]
CostUsd = Annotated[float, PlainValidator(values.cost_usd), _COST]
PriceUsdPerHour = Annotated[float, PlainValidator(values.price_usd_per_hour), _PRICE]
Count = Annotated[int, PlainValidator(values.whole), WithJsonSchema(_COUNT)]
SizeBytes = Annotated[int, PlainValidator(values.size_bytes), _SIZE]
DiskGib = Annotated[int, PlainValidator(values.disk_gib), _SIZE]
DurationS = Annotated[float, PlainValidator(values.duration_s), WithJsonSchema(_DURATION)]
Flag = Annotated[bool, PlainValidator(values.flag), WithJsonSchema({"type": "boolean"})]
Name = Annotated[str, PlainValidator(values.name), _text_schema("digits", "^[a-z0-9][a-z0-9-]{0,40}$")]
Command = Annotated[tuple[str, ...] | str, PlainValidator(values.command), WithJsonSchema(_COMMAND)]
Variable = Annotated[str, PlainValidator(values.variable), _text_schema("EPOCHS")]
VariableText = Annotated[str, PlainValidator(values.variable_text), _text_schema("20")]
Secret = Annotated[str, PlainValidator(values.secret), _text_schema("WANDB_API_KEY")]
GpuKind = Annotated[str, PlainValidator(values.gpu_kind), _text_schema("t4")]
InstanceType = Annotated[str, PlainValidator(values.instance_type), _text_schema("g4dn.xlarge")]
Region = Annotated[str, PlainValidator(values.region), _text_schema("us-east-1")]
Zone = Annotated[str, PlainValidator(values.zone), _text_schema("us-east-1a")]
ImageName = Annotated[str, PlainValidator(values.image), _text_schema("ami-0abcd1234abcd1234")]
User = Annotated[str, PlainValidator(values.user), _text_schema("ubuntu")]
Proxy = Annotated[str, PlainValidator(values.proxy), _text_schema("me@bastion")]
Architecture = Annotated[str, PlainValidator(values.architecture), WithJsonSchema({"enum": [*values.ARCHITECTURES]})]
Spot = Annotated[SpotPolicy, PlainValidator(values.spot), WithJsonSchema(_SPOT)]
DeviceWord = Annotated[Device, PlainValidator(_device), WithJsonSchema({"enum": [*Device]})]
FloatXWord = Annotated[FloatX, PlainValidator(_floatx), WithJsonSchema({"enum": [*FloatX]})]
Folder = Annotated[Path, PlainValidator(_folder), _text_schema(".")]
File = Annotated[Path, PlainValidator(_file), _text_schema("~/.ssh/id_ed25519")]
Data = Annotated[Path | str, PlainValidator(_data), _text_schema("data")]
Outputs = Annotated[Path | str, PlainValidator(_outputs), _text_schema("results")]


class GpuFields(BaseModel):
    """The GPUs of one machine: `t4`, `a10g:2`, a count, or kind, count and memory."""

    model_config = ConfigDict(extra="forbid")

    kind: GpuKind | None = Field(
        default=None, description="The GPU's name, such as t4, a10g, l4 or v100; any if left out."
    )
    count: Count = Field(default=1, description="How many of them, at least; 0 for none.")
    memory: SizeBytes = Field(default=0, description="Memory of one of them, at least, such as 16 GiB.")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: object) -> object:
        return values.gpu(value)


class ResourceFields(BaseModel):
    """What the machine must have; whatever is left out may be anything."""

    model_config = ConfigDict(extra="forbid")

    gpu: GpuFields | None = Field(
        default=None,
        description="t4, a10g:2, a count, or kind, count and memory; left out: any one GPU if the device is gpu.",
        json_schema_extra=_with_short_forms,
    )
    vcpus: Count = Field(default=0, description="Virtual processors, at least.")
    memory: SizeBytes = Field(default=0, description="Main memory, at least, such as 16 GiB.")
    architecture: Architecture = Field(
        default="", description="x86_64 or arm64; left out: x86_64, or that of the instance_types."
    )
    instance_types: Annotated[tuple[InstanceType, ...], _one_or_many(InstanceType)] = Field(
        default=(), description="Only these instance types."
    )
    regions: Annotated[tuple[Region, ...], _one_or_many(Region)] = Field(
        default=(), description="Only these regions; all: every one that the account has enabled."
    )
    zones: Annotated[tuple[Zone, ...], _one_or_many(Zone)] = Field(
        default=(), description="Only these availability zones."
    )
    spot: Spot = Field(
        default=SpotPolicy.PREFER_SPOT,
        description="true: spot alone; false: on-demand alone; prefer: spot, else on-demand.",
    )
    disk: DiskGib = Field(default=50, description="The root volume, such as 100 GiB.")
    image: ImageName = Field(
        default="",
        description="An AMI id, name:PATTERN, tag:gpurun:image=VALUE or ssm:/PARAMETER; "
        "left out: the Deep Learning AMI.",
    )

    @field_validator("zones")
    @classmethod
    def _inside_regions(cls, zones: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        values.check_zones(zones, info.data.get("regions") or ())
        return zones


class LimitFields(BaseModel):
    """What the run may take at most, over all its machines."""

    model_config = ConfigDict(extra="forbid")

    max_hours: Hours = Field(
        default=4.0, description="Hours until the machine ends itself, whatever happens; at most 720."
    )
    max_cost: CostUsd | None = Field(default=None, description="US dollars that the whole run may cost.")
    max_price: PriceUsdPerHour | None = Field(default=None, description="US dollars an hour that the machine may cost.")
    max_restarts: Count = Field(
        default=10, description="How often the run may go on on another machine after it lost one; 0: never."
    )


class SshFields(BaseModel):
    """How to reach the machine where the defaults do not do."""

    model_config = ConfigDict(extra="forbid")

    user: User = Field(default="ubuntu", description="The user to log in as.")
    key: File | None = Field(default=None, description="Your own private key; left out: one is made for the run.")
    config_file: File | None = Field(default=None, description="An ssh_config to read instead of ~/.ssh/config.")
    proxy: Proxy | None = Field(default=None, description="A jump host, as `ssh -J` takes it.")


class SpecFields(BaseModel):
    """A job for gpurun: what to run, on what, and with which limits."""

    model_config = ConfigDict(extra="forbid", title="gpurun spec")

    name: Name | None = Field(
        default=None, description="What the run is called; left out: the name of the file or folder."
    )
    workdir: Folder | None = Field(default=None, description="The folder that goes up; left out: the spec's own.")
    run: Command = Field(description="A shell script, or a list such as [python, train.py, --epochs, 20].")
    data: Data | None = Field(
        default=None, description="A file or folder, or s3://bucket/prefix; it lands in GPURUN_DATA_DIR."
    )
    env: Annotated[dict[Variable, VariableText], WithJsonSchema(_ENV)] = Field(
        default_factory=dict, description="Environment variables of the job."
    )
    secrets: Annotated[tuple[Secret, ...], _one_or_many(Secret)] = Field(
        default=(),
        description="Names of variables of your environment that the job gets; their values are never stored.",
    )
    device: DeviceWord = Field(default=Device.GPU, description="What the job computes on.")
    floatx: FloatXWord = Field(default=FloatX.FLOAT32, description="The floating-point type of the job.")
    resources: ResourceFields = Field(default_factory=ResourceFields, description="What the machine must have.")
    limits: LimitFields = Field(default_factory=LimitFields, description="What the run may take at most.")
    outputs: Outputs | None = Field(
        default=None,
        description="Where the results go; left out: runs/<id>/. With s3://bucket/prefix the machine sends "
        "checkpoints, results and log there by itself, and they come home too when somebody is there.",
    )
    checkpoint: Flag = Field(default=True, description="Whether the job's checkpoints come home too.")
    keep_on_failure: DurationS = Field(
        default=0.0, description="How long to keep the machine of a failed job, such as 30m; false: not at all."
    )
    ssh: SshFields = Field(default_factory=SshFields, description="How to reach the machine.")
    compare: CompareFields = Field(
        default_factory=CompareFields, description="What `gpurun compare-cpu-gpu` does with it."
    )

    @field_validator("run")
    @classmethod
    def _script_is_there(cls, run: tuple[str, ...] | str, info: ValidationInfo) -> tuple[str, ...] | str:
        folder = info.data.get("workdir") or _based(info)
        # A workdir with a mistake of its own would only add a second line about the same thing.
        if "workdir" in info.data and isinstance(run, tuple):
            check_script(run, folder)
        return run

    @field_validator("secrets")
    @classmethod
    def _secret_or_plain(cls, secrets: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for name in secrets:
            if name in (info.data.get("env") or {}):
                raise ValueError(f"{name} is in env too, expected it in one of them")
        return secrets

    @field_validator("resources")
    @classmethod
    def _gpu_for_gpu(cls, resources: ResourceFields, info: ValidationInfo) -> ResourceFields:
        if resources.gpu and resources.gpu.count == 0 and info.data.get("device") is Device.GPU:
            raise ValueError("no GPU is asked for, but the device is gpu; expected `device: cpu`, or a GPU")
        return resources


def check_script(argv: tuple[str, ...], folder: Path) -> None:
    """A script that an interpreter is given must be there; raises `ValueError`."""
    interpreter = Path(argv[0]).name.rstrip("0123456789.")
    script = argv[1] if len(argv) > 1 and interpreter in {"python", "bash", "sh"} else ""
    if not script.endswith((".py", ".sh")) or Path(script).is_absolute() or (folder / script).exists():
        return
    near = files.near_names(folder / script)
    raise ValueError(f"there is no {script} in {folder}{near}, expected a script that is there")


def requirements(fields: ResourceFields, device: Device) -> Requirements:
    """What the fields ask of a machine, with a GPU of any kind where only the device asks for one."""
    gpu = fields.gpu or GpuFields.model_validate({"count": 1 if device is Device.GPU else 0})
    zone_regions = tuple(dict.fromkeys(values.region_of(zone) for zone in fields.zones))
    return Requirements(
        gpu_kind=gpu.kind,
        gpu_count=gpu.count,
        gpu_memory_bytes=gpu.memory,
        vcpus=fields.vcpus,
        memory_bytes=fields.memory,
        architecture=fields.architecture,
        instance_types=fields.instance_types,
        regions=fields.regions or zone_regions,
        zones=fields.zones,
        spot=fields.spot,
        disk_gib=fields.disk,
        image=fields.image,
    )


def limits(fields: LimitFields) -> Limits:
    """The limits, with their units."""
    return Limits(
        max_hours=fields.max_hours,
        max_cost_usd=fields.max_cost,
        max_price_usd_per_hour=fields.max_price,
        max_restarts=fields.max_restarts,
    )


def ssh_options(fields: SshFields) -> SshOptions:
    """How to reach the machine."""
    return SshOptions(user=fields.user, key=fields.key, config_file=fields.config_file, proxy=fields.proxy)
