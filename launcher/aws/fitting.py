"""Whether a kind of machine has what a job asks for, and in which words that is told."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from launcher.aws import catalog
from launcher.aws.catalog import MachineType, normal_kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.domain import Requirements

    Checks = dict[str, Callable[[MachineType], bool]]

BURSTABLE = re.compile(r"t\d")
"""T2, T3, T3a, T4g (Amazon EC2 User Guide, "Burstable performance instances")."""
DEFAULT_ARCHITECTURE = "x86_64"
"""Of the default image, and of nearly all wheels; other types are offered only where they are asked for."""


def obstacles(each: MachineType, requirements: Requirements) -> list[str]:
    """What the machine lacks, in words."""
    return [words for words, fits in checks(requirements).items() if not fits(each)]


def architecture_of(each: MachineType, requirements: Requirements) -> str:
    """Which of its architectures the machine would be used with."""
    wanted = requirements.architecture or DEFAULT_ARCHITECTURE
    return wanted if wanted in each.architectures else each.architectures[0]


def size(each: MachineType) -> tuple[int, int, int, str]:
    """What machines are put in order by, small ones first."""
    return (each.gpu.count if each.gpu else 0, each.vcpus, each.memory_bytes, each.name)


def checks(requirements: Requirements) -> Checks:
    """What the job asks of a machine, each by the words in which it is told to the user."""
    asked = requirements
    named = bool(asked.instance_types)
    wanted = asked.architecture or ("" if named else DEFAULT_ARCHITECTURE)
    found: Checks = {"no bare metal": lambda each: named or not each.bare_metal}
    if wanted:
        found[f"architecture {wanted}"] = lambda each: wanted in each.architectures
    if asked.zones:
        found[f"zones {', '.join(asked.zones)}"] = lambda each: bool(set(asked.zones) & set(each.zones))
    if asked.vcpus:
        found[f"vcpus >= {asked.vcpus}"] = lambda each: each.vcpus >= asked.vcpus
    if asked.memory_bytes:
        found[f"memory >= {_gib(asked.memory_bytes)} GiB"] = lambda each: each.memory_bytes >= asked.memory_bytes
    if not asked.burstable:
        found["processors without credits"] = lambda each: not BURSTABLE.match(each.name)
    return found | _gpu_checks(asked, named=named)


def _gpu_checks(asked: Requirements, *, named: bool) -> Checks:
    if not catalog.wants_gpu(asked):
        return {} if named else {"no GPU": lambda each: each.gpu is None}
    count = max(1, asked.gpu_count)
    found: Checks = {f"gpu count >= {count}": lambda each: each.gpu is not None and each.gpu.count >= count}
    if asked.gpu_kind:
        kind = normal_kind(asked.gpu_kind)
        found[f"gpu kind {kind}"] = lambda each: each.gpu is not None and each.gpu.kind == kind
    elif not named:
        found["an NVIDIA gpu"] = lambda each: each.manufacturer.upper() == "NVIDIA"
    if asked.gpu_memory_bytes:
        found[f"gpu memory >= {_gib(asked.gpu_memory_bytes)} GiB"] = lambda each: (
            each.gpu is not None and each.gpu.memory_bytes >= asked.gpu_memory_bytes
        )
    return found


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 30):g}"
