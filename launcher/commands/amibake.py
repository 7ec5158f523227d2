"""`gpurun ami bake` and `verify`: planned and confirmed as a launch is."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from launcher import creation, plan, render, runs
from launcher import spec as specs
from launcher.aws import baked
from launcher.aws.client import Aws
from launcher.bake import bake as baking
from launcher.bake import order, recipe, trial
from launcher.commands import amiview, planview, session
from launcher.errors import SpecError
from launcher.live import now

if TYPE_CHECKING:
    from launcher.aws.baked import BakedImage
    from launcher.bake.recipe import Recipe
    from launcher.domain import Account, JobSpec, Plan, Receipt
    from launcher.ledger import Ledger
    from launcher.live import LiveRun
    from launcher.ports import Reporter

RESULTS_FOLDER = "bakes"
"""Below the state folder: receipts and smoke tests are nobody's results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the command line said."""

    name: str
    recipe: Path | None = None
    image: str | None = None
    instance_types: tuple[str, ...] = ()
    gpu: str | None = None
    architecture: str | None = None
    region: str | None = None
    disk: str | None = None
    max_hours: float | None = None
    max_cost: float | None = None
    verify: bool = True
    keep: int | None = None
    boot_timeout_s: float


def bake(wish: Wish, account: Account, *, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Bake, test, name, and prune what is older."""
    began, made_of = now(), recipe.read(wish.recipe)
    results = session.state().home / RESULTS_FOLDER
    spec = order.bake_spec(wish.name, made_of, _changes(wish), results)
    with session.ledger() as book, session.reporter(as_json=as_json) as reporter:
        aws = Aws(account)
        planned = plan.make(spec, aws, book.cache, rehearsal=dry_run)
        _show(spec, planned, as_json=as_json and dry_run, rows=12 if dry_run else 3)
        if dry_run or not _confirmed("Bake?", skip=yes):
            return 0
        there = aws.at(planned.offers[0].region)
        live = creation.create(
            spec,
            planned,
            account,
            there,
            ledger=book,
            state=session.state(),
            reporter=reporter,
            planning_began=began,
        )
        reporter.note(f"run {live.run_id} bakes; its machine ends by {live.deadline:%H:%M:%S} UTC, whatever happens")
        receipts: list[Receipt] = []

        def test(image: BakedImage) -> None:
            if wish.verify:
                receipts.append(_test(image, made_of, spec, account, aws, book, reporter, wish))

        image = baking.bake(live, made_of, wish.name, boot_timeout_s=wish.boot_timeout_s, test=test)
        gone = _prune(live.aws, wish)
    _tell(image, receipts, gone, as_json=as_json)
    return 0


def verify(which: str, wish: Wish, account: Account, *, yes: bool, as_json: bool) -> int:
    """Launch from an image that there is and test it."""
    made_of = recipe.read(wish.recipe)
    results = session.state().home / RESULTS_FOLDER
    spec = order.bake_spec(wish.name, made_of, _changes(wish), results)
    with session.ledger() as book, session.reporter(as_json=as_json) as reporter:
        aws = Aws(account)
        image = baked.get(aws, which)
        job = order.test_spec(image, made_of, spec, results)
        _show(job, plan.make(job, aws, book.cache), as_json=False, rows=3)
        if not _confirmed("Launch?", skip=yes):
            return 0
        receipt = _test(image, made_of, spec, account, aws, book, reporter, wish)
    _tell(image, [receipt], [], as_json=as_json)
    return 0


def _test(
    image: BakedImage,
    made_of: Recipe,
    like: JobSpec,
    account: Account,
    aws: Aws,
    book: Ledger,
    reporter: Reporter,
    wish: Wish,
) -> Receipt:
    return trial.run(
        order.test_spec(image, made_of, like, session.state().home / RESULTS_FOLDER),
        image,
        account,
        aws,
        ledger=book,
        state=session.state(),
        reporter=reporter,
        attendance=lambda: runs.Attendance(boot_timeout_s=wish.boot_timeout_s, ask=_stop),
    )


def _stop(_live: LiveRun, _job_runs: bool) -> runs.Choice:
    """Ctrl-C during a test ends it: there is nothing in it to keep."""
    return runs.Choice.STOP


def _changes(wish: Wish) -> specs.Overrides:
    return specs.Overrides(
        device="gpu" if wish.gpu else None,
        gpu=wish.gpu,
        architecture=wish.architecture,
        instance_types=wish.instance_types,
        regions=(wish.region,) if wish.region else (),
        image=wish.image,
        disk=wish.disk,
        max_hours=wish.max_hours,
        max_cost=wish.max_cost,
    )


def _prune(aws: Aws, wish: Wish) -> list[BakedImage]:
    old = baked.surplus(aws, wish.name, wish.keep) if wish.keep else []
    used = baked.users(aws, old)
    sys.stderr.write(amiview.in_use(used))
    free = [image for image in old if image.image_id not in used]
    for image in free:
        baked.remove(aws, image)
    return free


def _show(spec: JobSpec, planned: Plan, *, as_json: bool, rows: int) -> None:
    if as_json:
        planview.print_json(planned)
    else:
        sys.stderr.write(planview.text(spec, planned, rows=rows) + "\n")


def _confirmed(question: str, *, skip: bool) -> bool:
    if skip:
        return True
    if not sys.stdin.isatty():
        raise SpecError("nobody is there to confirm the cost", hint="add --yes, or --dry-run to see the plan alone")
    return typer.confirm(question, default=True, err=True)


def _tell(image: BakedImage, receipts: list[Receipt], gone: list[BakedImage], *, as_json: bool) -> None:
    if as_json:
        tests = [asdict(each) for each in receipts]
        render.print_json({"event": "image", "image": asdict(image), "tests": tests, "removed": gone})
        return
    for old in gone:
        sys.stderr.write(f"removed {old.image_id}, {old.created_at}\n")
    for each in receipts:
        sys.stderr.write(render.receipt_text(each) + "\n")
    sys.stderr.write(f"ready: resources.image: tag:gpurun:image={image.name}, in {image.region}\n")
    sys.stdout.write(f"{image.image_id}\n")
