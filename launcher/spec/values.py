"""One field's value at a time: from what YAML or a flag gives to what the domain holds.

Each raises `ValueError` with what was wrong and what is expected.
"""

from __future__ import annotations

import math
import os
import re
from enum import StrEnum
from typing import TypeVar

from launcher.domain import SpotPolicy
from launcher.spec.mistakes import nearest

Word = TypeVar("Word", bound=StrEnum)

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([KMGT]i?)?B?", re.IGNORECASE)
_DURATION = re.compile(
    r"(?:(\d{1,6})\s*d)?\s*(?:(\d{1,6})\s*h)?\s*(?:(\d{1,6})\s*m(?:in)?)?\s*(?:(\d{1,6})\s*s)?", re.IGNORECASE
)
_GPU = re.compile(r"([A-Za-z0-9][A-Za-z0-9 -]*?)\s*(?::\s*(\d{1,3}))?")
_INSTANCE_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
_REGION = re.compile(r"[a-z]{2,}(?:-[a-z]+)+-\d")
_ZONE = re.compile(r"([a-z]{2,}(?:-[a-z]+)+-\d)(?:-[a-z]+-\d+)?[a-z]")
_IMAGE = re.compile(r"ami-[0-9a-f]{8}(?:[0-9a-f]{9})?|name:\S.*|tag:[^=]+=.+|ssm:/[A-Za-z0-9_./-]+")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_POWERS = {"": 3, "k": 1, "m": 2, "g": 3, "t": 4}
_MAX_GIB = 1e9
ARCHITECTURES = ("x86_64", "arm64")
ALL_REGIONS = "all"
MAX_HOURS = 720
"""Thirty days: a run longer than that is a slip of the keyboard far more often than a wish."""
MAX_COST_USD = 1_000_000
MAX_PRICE_USD_PER_HOUR = 10_000
_MAX_DISK_GIB = 65_536
"""The largest gp3 volume (AWS, "Amazon EBS volume types")."""


def slug(text: str) -> str:
    """A run's name made of any text."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:41].strip("-") or "run"


def name(value: object) -> str:
    """Letters, digits and dashes: it becomes part of a host name."""
    text = text_of(value, "a name such as digits")
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a name, expected up to 41 of a-z, 0-9 and '-', such as {slug(text)!r}")
    return text


def command(value: object) -> tuple[str, ...] | str:
    """An argv, or a shell script."""
    if isinstance(value, str) and value.strip():
        return _without_null(value)
    if isinstance(value, list | tuple) and value and all(isinstance(word, str) for word in value) and value[0]:
        return tuple(_without_null(word) for word in value)
    raise ValueError(f"{_shown(value)} cannot be run, expected a script or a list such as [python, train.py]")


def hours(value: object) -> float:
    """How long a run may take."""
    return positive(value, MAX_HOURS, " hours (30 days)")


def cost_usd(value: object) -> float:
    """What a run may cost."""
    return positive(value, MAX_COST_USD, " US dollars")


def price_usd_per_hour(value: object) -> float:
    """What a machine may cost."""
    return positive(value, MAX_PRICE_USD_PER_HOUR, " US dollars an hour")


def positive(value: object, most: float, unit: str) -> float:
    """A number above zero, and no larger than `most`; `unit` follows it in the message."""
    expected = f"a number above 0 and at most {most:.0f}{unit}, such as 4"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{_shown(value)} is not a number, expected {expected}")  # noqa: TRY004 - pydantic collects ValueError alone
    if not 0 < value <= most:
        raise ValueError(f"{_shown(value)} is out of range, expected {expected}")
    return float(value)


def whole(value: object) -> int:
    """A count, zero included."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 10_000:
        raise ValueError(f"{_shown(value)} is not a count, expected a whole number from 0, such as 1")
    return value


def size_bytes(value: object) -> int:
    """`16 GiB`, `500 MB`, or a bare number of GiB."""
    if isinstance(value, int | float):
        value = f"{positive(value, _MAX_GIB, ' GiB'):.6f}"
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match or float(match[1]) <= 0:
        raise ValueError(f"{_shown(value)} is not a size, expected one such as 16 GiB")
    unit = (match[2] or "").lower()
    base = 1000 if unit and not unit.endswith("i") else 1024
    return math.ceil(float(match[1]) * float(base) ** _POWERS[unit[:1]])


def disk_gib(value: object) -> int:
    """A volume's size, rounded up to whole GiB."""
    gib = math.ceil(size_bytes(value) / 2**30)
    if gib > _MAX_DISK_GIB:
        raise ValueError(f"{_shown(value)} is too large, expected at most {_MAX_DISK_GIB} GiB")
    return gib


def duration_s(value: object) -> float:
    """`30m`, `1h 30m`, `90s`; false or 0 for none."""
    if value is False or (isinstance(value, int | float) and value == 0):
        return 0.0
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) and value.strip() else None
    if not match:
        raise ValueError(f"{_shown(value)} is not a duration, expected one such as 30m or 1h 30m, or false")
    seconds = sum(int(part or 0) * unit for part, unit in zip(match.groups(), (86400, 3600, 60, 1), strict=True))
    if seconds > MAX_HOURS * 3600:
        raise ValueError(f"{_shown(value)} is too long, expected at most {MAX_HOURS}h (30 days)")
    return float(seconds)


def gpu(value: object) -> dict[str, object]:
    """The short forms `t4`, `a10g:2` and `1` as the fields that they stand for."""
    if isinstance(value, dict):
        return value
    if value is False:
        return {"count": 0}
    if isinstance(value, int) and value is not True:
        return {"count": value}
    match = _GPU.fullmatch(value.strip()) if isinstance(value, str) else None
    if not match:
        raise ValueError(f"{_shown(value)} is not a GPU, expected one such as t4, a10g:2, or kind, count and memory")
    return {"kind": match[1]} | ({"count": int(match[2])} if match[2] else {})


def gpu_kind(value: object) -> str:
    """In small letters; AWS writes T4, A10G, V100."""
    text = text_of(value, "a kind such as t4")
    if not _GPU.fullmatch(text) or ":" in text:
        raise ValueError(f"{text!r} is not a kind of GPU, expected one such as t4, a10g, l4 or v100")
    return text.lower()


def one_of(value: object, kinds: type[Word]) -> Word:
    """A word of a few."""
    words = [kind.value for kind in kinds]
    if value not in words:
        raise ValueError(f"{_shown(value)} is not known{nearest(str(value), words)}, expected {_alternatives(words)}")
    return kinds(str(value))


def spot(value: object) -> SpotPolicy:
    """`true`, `false` or `prefer`."""
    policies = {"true": SpotPolicy.SPOT, "false": SpotPolicy.ON_DEMAND, "prefer": SpotPolicy.PREFER_SPOT}
    word = str(value).lower() if isinstance(value, bool | str) else ""
    if word not in policies:
        raise ValueError(f"{_shown(value)} is not known{nearest(word, policies)}, expected true, false or prefer")
    return policies[word]


def listed(value: object) -> list[object]:
    """One value stands for a list of it."""
    if isinstance(value, list | tuple):
        return list(value)
    return [value]


def instance_type(value: object) -> str:
    """Such as g4dn.xlarge."""
    return matching(value, _INSTANCE_TYPE, "an instance type such as g4dn.xlarge")


def architecture(value: object) -> str:
    """Of the machine's processor, by one of its names."""
    other_names = {"amd64": "x86_64", "x86-64": "x86_64", "aarch64": "arm64", "graviton": "arm64"}
    word = str(value).strip().lower()
    word = other_names.get(word, word)
    if word not in ARCHITECTURES:
        raise ValueError(f"{_shown(value)} is not known{nearest(word, ARCHITECTURES)}, expected x86_64 or arm64")
    return word


def region(value: object) -> str:
    """Such as us-east-1; `all` stands for every enabled one."""
    if value == ALL_REGIONS:
        return ALL_REGIONS
    return matching(value, _REGION, "a region such as us-east-1")


def zone(value: object) -> str:
    """Such as us-east-1a."""
    return matching(value, _ZONE, "an availability zone such as us-east-1a")


def region_of(zone_name: str) -> str:
    """The region that an availability zone's or local zone's name begins with."""
    match = _ZONE.fullmatch(zone_name)
    return match[1] if match else zone_name


def image(value: object) -> str:
    """An AMI id, `name:PATTERN`, `tag:KEY=VALUE` or `ssm:/PARAMETER`; other text is a name pattern."""
    text = text_of(value, "an image such as ami-0abcd1234abcd1234")
    if not text.startswith(("ami-", "name:", "tag:", "ssm:")):
        text = f"name:{text}"
    if not _IMAGE.fullmatch(text):
        forms = "an AMI id, name:PATTERN, tag:gpurun:image=VALUE or ssm:/PARAMETER"
        raise ValueError(f"{text!r} names no image, expected {forms}")
    return text


def variable(value: object) -> str:
    """A name that any shell takes, and that is not one of ours."""
    text = text_of(value, "a name such as EPOCHS")
    if not _VARIABLE.fullmatch(text):
        raise ValueError(f"{text!r} cannot name a variable, expected letters, digits and '_', such as EPOCHS")
    if text.startswith("GPURUN_"):
        raise ValueError(f"{text!r} is set by gpurun itself, expected another name")
    return text


def variable_text(value: object) -> str:
    """An environment variable's value; numbers come as they are written."""
    if not isinstance(value, str):
        raise ValueError(f"{_shown(value)} is not text, expected one value (quote it; '' for none)")  # noqa: TRY004 - pydantic collects ValueError alone
    return _without_null(value)


def secret(value: object) -> str:
    """The name of a variable that is set in the caller's environment; its value is looked at only to be sent."""
    text = variable(value)
    if text not in os.environ:
        raise ValueError(f"{text} is not set here, expected it in the environment: `export {text}=...`")
    return text


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"{_shown(value)} is neither, expected true or false")  # noqa: TRY004 - pydantic collects ValueError alone
    return value


def user(value: object) -> str:
    """A user of the machine."""
    return matching(value, _USER, "a user such as ubuntu")


def proxy(value: object) -> str:
    """A jump host; never something that ssh would take for an option."""
    text = text_of(value, "a host such as me@bastion:22")
    if text.startswith("-") or re.search(r"\s", text):
        raise ValueError(f"{text!r} is not a host, expected one as `ssh -J` takes it, such as me@bastion:22")
    return text


def text_of(value: object, expected: str) -> str:
    """Text that is not blank, without the blanks around it."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{_shown(value)} is not text, expected {expected}")
    return _without_null(value.strip())


def matching(value: object, pattern: re.Pattern[str], expected: str) -> str:
    """Text that is wholly of a pattern."""
    text = text_of(value, expected)
    if not pattern.fullmatch(text):
        raise ValueError(f"{text!r} is not valid, expected {expected}")
    return text


def _without_null(text: str) -> str:
    if "\0" in text:
        raise ValueError("a NUL character, expected text without it")
    return text


def _alternatives(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "nothing"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_zones(zones: tuple[str, ...], regions: tuple[str, ...]) -> None:
    """Zones must lie in the regions where both are given; raises `ValueError`."""
    for zone in zones:
        if regions and ALL_REGIONS not in regions and region_of(zone) not in regions:
            raise ValueError(f"{zone} lies outside of {', '.join(regions)}, expected a zone of those regions")
