"""What a job needs of a machine at least."""

from __future__ import annotations

from dataclasses import replace

from launcher.domain import Device, JobSpec, Requirements

MIN_CPU_VCPUS = 2
MIN_CPU_MEMORY_BYTES = 4 << 30


def needed(spec: JobSpec) -> Requirements:
    """The spec's requirements with the floor that a job of its device needs."""
    asked = spec.resources
    if asked.instance_types:
        return asked
    if spec.device is Device.GPU:
        return replace(asked, gpu_count=max(1, asked.gpu_count))
    return replace(
        asked,
        vcpus=asked.vcpus or MIN_CPU_VCPUS,
        # The cheapest machines have half a GiB, which no framework fits into.
        memory_bytes=asked.memory_bytes or MIN_CPU_MEMORY_BYTES,
    )
