"""`gpurun ami`: machine images of our own, from which a launch has nothing to install."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from launcher.commands import options, planning, session
from launcher.errors import SpecError

if TYPE_CHECKING:
    from launcher.aws.client import Aws

COPY_TIMEOUT_S = 3600.0
DEFAULT_NAME = "gpurun"

app = typer.Typer(
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Machine images with all that jobs need: a launch from one installs nothing.",
)

Which = Annotated[str, typer.Argument(help="An image's name (the newest of it) or id.", metavar="NAME|AMI")]
Recipe = Annotated[
    Path | None, typer.Option(help="Folder of the recipe; default: ami/ here, else gpurun's own.", metavar="DIR")
]
InstanceType = Annotated[list[str] | None, typer.Option(help="Allowed type; repeatable.")]
Gpu = Annotated[str | None, typer.Option(help="On a machine with a GPU, such as t4, so that it is tested too.")]
MaxCost = Annotated[float | None, typer.Option(help="US dollars for the run.")]
Keep = Annotated[int, typer.Option(help="How many of a name stay, the newest.", min=1, max=1000)]


@app.command()
def bake(
    *,
    name: Annotated[str, typer.Option(help="Launch with tag:gpurun:image=NAME.", metavar="NAME")] = DEFAULT_NAME,
    recipe: Recipe = None,
    image: Annotated[str | None, typer.Option(help="Base image; default: the recipe's.")] = None,
    instance_type: InstanceType = None,
    gpu: Gpu = None,
    architecture: Annotated[str | None, typer.Option(help="x86_64 or arm64.")] = None,
    region: options.Region = None,
    disk: Annotated[str | None, typer.Option(help="Root disk, such as 60 GiB.")] = None,
    max_hours: Annotated[float | None, typer.Option(help="The machine ends after so many hours.")] = None,
    max_cost: MaxCost = None,
    verify: Annotated[bool, typer.Option("--verify/--no-verify", help="Test a launch from it.")] = True,
    keep: Annotated[
        int | None, typer.Option(help="Remove older images of the name but for so many in all.", min=1, max=1000)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Plan and price, bake nothing.")] = False,
    yes: options.Yes = False,
    boot_timeout: options.BootTimeout = 240,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    as_json: options.Json = False,
) -> int:
    """Bake an image on a machine that is had for it: provision, smoke test, clean, image, test a launch, name it."""
    from launcher.commands import amibake

    return amibake.bake(
        amibake.Wish(
            name=name,
            recipe=recipe,
            image=image,
            instance_types=tuple(instance_type or ()),
            gpu=gpu,
            architecture=architecture,
            region=region,
            disk=disk,
            max_hours=max_hours,
            max_cost=max_cost,
            verify=verify,
            keep=keep,
            boot_timeout_s=boot_timeout,
        ),
        session.account(sandbox=sandbox, profile=profile, region=region),
        dry_run=dry_run,
        yes=yes or sandbox,
        as_json=as_json,
    )


@app.command()
def verify(
    which: Which,
    *,
    recipe: Recipe = None,
    instance_type: InstanceType = None,
    gpu: Gpu = None,
    region: options.Region = None,
    max_cost: MaxCost = None,
    yes: options.Yes = False,
    boot_timeout: options.BootTimeout = 240,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    as_json: options.Json = False,
) -> int:
    """Launch from an image and run its smoke test there."""
    from launcher.commands import amibake

    wish = amibake.Wish(
        name=DEFAULT_NAME,
        recipe=recipe,
        instance_types=tuple(instance_type or ()),
        gpu=gpu,
        region=region,
        max_cost=max_cost,
        boot_timeout_s=boot_timeout,
    )
    account = session.account(sandbox=sandbox, profile=profile, region=region)
    return amibake.verify(which, wish, account, yes=yes or sandbox, as_json=as_json)


@app.command(name="list")
def list_(
    name: Annotated[str | None, typer.Argument(help="A name; none: all.", metavar="[NAME]")] = None,
    *,
    region: options.Region = None,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    as_json: options.Json = False,
) -> None:
    """List the region's images, newest first, from their tags."""
    from launcher import render
    from launcher.aws import baked
    from launcher.commands import amiview

    found = baked.find(_aws(sandbox, profile, region), name)
    if as_json:
        render.print_json(found, indent=1)
    else:
        sys.stdout.write(amiview.rows(found))


@app.command()
def show(
    which: Which,
    *,
    region: options.Region = None,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    as_json: options.Json = False,
) -> None:
    """Show an image: what is in it, from which recipe, and who may use it."""
    from launcher import render
    from launcher.aws import baked
    from launcher.commands import amiview

    aws = _aws(sandbox, profile, region)
    image = baked.get(aws, which)
    shared = baked.shared_with(aws, image)
    if as_json:
        render.print_json({"image": image, "shared_with": shared}, indent=1)
    else:
        sys.stdout.write(amiview.one(image, shared))


@app.command()
def share(
    which: Which,
    account_id: Annotated[str, typer.Argument(help="An AWS account: twelve digits.", metavar="ACCOUNT")],
    *,
    end: Annotated[bool, typer.Option("--end", help="No longer.")] = False,
    region: options.Region = None,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
) -> None:
    """Let another account launch from an image."""
    from launcher.aws import baked

    if not (len(account_id) == 12 and account_id.isascii() and account_id.isdigit()):
        raise SpecError(
            f"{account_id!r:.40} is no AWS account: twelve digits", hint="gpurun ami share NAME 123456789012"
        )
    aws = _aws(sandbox, profile, region)
    image = baked.get(aws, which)
    baked.share(aws, image, account_id, end=end)
    if end:
        sys.stdout.write(f"{account_id} may no longer launch from {image.image_id}\n")
    else:
        sys.stdout.write(
            f"{account_id} may launch from it, once its key is shared too: resources.image: {image.image_id} "
            f"in {image.region}\n"
        )


@app.command(name="copy")
def copy_(
    which: Which,
    to: Annotated[str, typer.Argument(help="A region.", metavar="REGION")],
    *,
    key: Annotated[
        str, typer.Option("--kms-key", help="A KMS key of that region; default: the account's own.", metavar="KEY")
    ] = "",
    region: options.Region = None,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
) -> None:
    """Copy an image to a region, encrypted, and wait until it is there."""
    from launcher.aws import baked, regions
    from launcher.owner import TAG_OWNER, owner

    aws = _aws(sandbox, profile, region)
    image = baked.get(aws, which)
    if not image.ready:
        raise SpecError(f"image {image.image_id} is not ready", hint="gpurun ami list")
    if to not in regions.enabled(aws):
        raise SpecError(f"{to!r:.40} is no region of this account", hint="gpurun ami copy NAME us-west-2")
    if to == image.region and not key:
        raise SpecError(
            f"image {image.image_id} is in {to} already",
            hint=f"gpurun ami copy {image.image_id} {to} --kms-key KEY, for one that can be shared",
        )
    now = datetime.now(UTC)
    deadline = (now + timedelta(seconds=2 * COPY_TIMEOUT_S)).strftime("%Y-%m-%dT%H:%M:%SZ")
    image_id = baked.copy(
        aws,
        image,
        to,
        ec2_name=f"gpurun-{image.name}-{now:%Y%m%d-%H%M%S}-copy",
        deadline=deadline,
        owner={TAG_OWNER: owner()},
        key=key,
    )
    there = aws.at(to)
    sys.stderr.write(f"copying to {image_id} in {to}; minutes\n")
    try:
        made = baked.wait_available(there, image_id, COPY_TIMEOUT_S)
        baked.check_encrypted(there, made)
        baked.publish(there, made, image.name)
    except BaseException:
        baked.remove(there, baked.get(there, image_id))
        raise
    sys.stdout.write(f"{image_id}\n")


@app.command()
def prune(
    name: Annotated[str, typer.Argument(help="An image's name.", metavar="NAME")] = DEFAULT_NAME,
    *,
    keep: Keep = 3,
    yes: options.Yes = False,
    region: options.Region = None,
    sandbox: options.Sandbox = False,
    profile: options.Profile = None,
    as_json: options.Json = False,
) -> None:
    """Say which older images of a name would go, and with --yes remove them with their snapshots."""
    from launcher import render
    from launcher.aws import baked
    from launcher.commands import amiview

    aws = _aws(sandbox, profile, region)
    old = baked.surplus(aws, name, keep)
    used = baked.users(aws, old)
    free = [image for image in old if image.image_id not in used]
    for image in free if yes else ():
        baked.remove(aws, image)
    if as_json:
        render.print_json({"removed" if yes else "would_remove": free, "in_use": used}, indent=1)
    else:
        sys.stdout.write(amiview.in_use(used) + amiview.pruned(free, name, keep, acted=yes))


def _aws(sandbox: bool, profile: str | None, region: str | None) -> Aws:
    from launcher.aws.client import Aws

    return Aws(
        session.account(sandbox=sandbox, profile=profile, region=planning.home_region([region] if region else None))
    )
