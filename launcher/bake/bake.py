"""A bake, top to bottom: a run's machine, provisioned, tested, cleaned, imaged and ended; the image tested and named.

It is an ordinary run in the ledger, with its deadline, tags and switches, until the image has its name. Whatever fails
or stops it before then takes machine, image and snapshots away; a launcher that is killed leaves that to `down`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from launcher import interrupts, lifeline, places, provision, teardown
from launcher.attach import open_lines, until_up
from launcher.aws import baked
from launcher.aws.baked import BakedImage
from launcher.aws.tags import TAG_BAKE
from launcher.bake import machine
from launcher.bake.recipe import Recipe
from launcher.domain import TAG_DEADLINE, TAG_RUN, Instance, RunStatus
from launcher.errors import Cancelled, GpurunError, LedgerError
from launcher.live import LiveRun
from launcher.owner import TAG_OWNER, owner

IMAGE_TIMEOUT_S = 3600.0
LONGEST_TAG = 256
STOPPED = (KeyboardInterrupt, interrupts.StopAsked, interrupts.HangUp)


def bake(
    live: LiveRun, recipe: Recipe, name: str, *, boot_timeout_s: float, test: Callable[[BakedImage], None]
) -> BakedImage:
    """Bake an image under a name; `test` is given the new image, and raises where it is no good.

    Raises any `GpurunError`, and `Cancelled`, with nothing left but what it warns of.
    """
    with live.signals.installed():
        try:
            with live.signals.raised():
                image = _made(live, recipe, name, boot_timeout_s)
                _leave_machine(live)
                test(image)
        except STOPPED:
            _undo(live, RunStatus.CANCELLED, "stopped by the user")
            raise Cancelled("the bake was stopped; nothing of it is left", hint="gpurun ami bake") from None
        except BaseException as error:
            _undo(live, RunStatus.FAILED, str(error))
            raise
        with live.signals.held("naming the image; a moment"):
            try:
                ready = baked.publish(live.aws, image, name)
            except BaseException as error:
                _undo(live, RunStatus.FAILED, str(error))
                raise
            live.event("published", id=ready.image_id, name=name)
            teardown.end(live, RunStatus.SUCCEEDED)
        return ready


def _made(live: LiveRun, recipe: Recipe, name: str, boot_timeout_s: float) -> BakedImage:
    """The image, whole and encrypted, without its name."""
    live.phases.enter("provision")
    live.advance(RunStatus.PROVISIONING)
    instance = provision.machine(live)
    live.phases.enter("boot", instance.instance_type)
    instance = provision.boot(live, instance)
    live.phases.enter("connect", instance.public_address or instance.private_address or "")
    lines = open_lines(live, instance)
    connection = until_up(live, lines.control, instance, boot_timeout_s)
    live.event("connected")
    live.advance(RunStatus.SYNCING)
    machine.identify(connection, instance)
    live.advance(RunStatus.RUNNING)
    live.phases.enter("run", "provisioning")
    machine.provision(live, lines.control, recipe)
    live.reporter.note("smoke test")
    found = machine.smoke_test(live, lines.control.fresh(machine.RECONNECT_S), recipe)
    live.event("smoke", **{key: found[key] for key in sorted(found)[:20]})
    live.reporter.note(_told(found))
    machine.mark_boot(lines.control.fresh(machine.RECONNECT_S))
    machine.clean(live, lines.control.fresh(machine.RECONNECT_S), recipe)
    live.hang_up()
    return _imaged(live, instance, recipe, name, found)


def _imaged(live: LiveRun, instance: Instance, recipe: Recipe, name: str, found: dict[str, Any]) -> BakedImage:
    made_at = datetime.now(UTC)
    ec2_name = f"gpurun-{name}-{made_at:%Y%m%d-%H%M%S}-{recipe.digest[:8]}"
    live.phases.enter("fetch", "image")
    live.advance(RunStatus.FETCHING)
    live.event("image.intent", name=ec2_name, region=live.record.region)
    tags = tags_of(live, recipe, name, found, made_at)
    with live.signals.held("asking EC2 for the image; a moment"):
        image_id = baked.create(live.aws, instance.instance_id, ec2_name, tags)
        live.event("image", id=image_id)
    live.reporter.note(f"image {image_id} is being made; minutes")
    image = baked.wait_available(
        live.aws,
        image_id,
        min(IMAGE_TIMEOUT_S, lifeline.seconds_left(live.deadline)),
        meanwhile=lambda: _keep_claimed(live, instance),
    )
    baked.check_encrypted(live.aws, image)
    return image


def _keep_claimed(live: LiveRun, instance: Instance) -> None:
    """A machine without a job ends itself after half an hour; a large image takes longer."""
    if not live.has_event("claimed") and machine.claim_again(open_lines(live, instance).control):
        live.event("claimed")
        live.hang_up()


def tags_of(live: LiveRun, recipe: Recipe, name: str, found: dict[str, Any], made_at: datetime) -> dict[str, str]:
    """All that is known of an image: `list` and `show` have nothing else."""
    tags = {
        TAG_BAKE: live.run_id,
        TAG_RUN: live.run_id,
        TAG_OWNER: owner(),
        TAG_DEADLINE: live.deadline.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Name": f"gpurun {name}",
        "gpurun:recipe": recipe.digest,
        "gpurun:created": made_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "gpurun:base": live.plan.image.image_id,
        "gpurun:packages": recipe.versions.get("PYTHON_PACKAGES", ""),
        "gpurun:prefix": recipe.versions["PREFIX"],
    }
    tags |= {
        f"gpurun:{key}": machine.printable(found[key]) for key in ("python", "tensorflow", "keras") if key in found
    }
    return {key: value[:LONGEST_TAG] for key, value in tags.items()}


def _told(found: dict[str, Any]) -> str:
    """The smoke test's finding in a line."""
    gpu = ", ".join(map(str, found.get("gpus") or [])) or f"no GPU: {found.get('no_gpu_because', 'not said')}"
    told = f"TensorFlow {found.get('tensorflow', '?')} trains {found.get('steps', '?')} steps; {gpu}"
    return machine.printable(told[:300])


def _leave_machine(live: LiveRun) -> None:
    """End the machine, which has done its work; the run stays open until its image has been tested and has its name."""
    with live.signals.held("ending the machine; seconds"):
        live.event("ending", status=RunStatus.FAILED.value, reason="its launcher died before the image had its name")
        live.advance(RunStatus.TERMINATING)
        live.phases.enter("terminate")
        places.of(live).vacate(live)


def _undo(live: LiveRun, status: RunStatus, why: str) -> None:
    """Take all away that the bake has made: the machine, then the image with its snapshots."""
    with live.signals.held("removing what the bake made; this takes seconds and is not interrupted"):
        live.hang_up()
        with suppress(LedgerError):
            live.event("failed", error=why)
        try:
            teardown.end(live, status, reason=why)
        except GpurunError as error:
            live.reporter.warn(f"{error.message}; gpurun down {live.run_id} goes on with it")
