"""One launch from an image, with its smoke test as the job: nothing is installed on the way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from launcher import creation, plan, runs
from launcher.aws.baked import BakedImage
from launcher.aws.client import Aws
from launcher.domain import Account, JobSpec, Receipt
from launcher.errors import Cancelled, ProvisionError
from launcher.ledger import Ledger
from launcher.live import LiveRun
from launcher.paths import StatePaths
from launcher.ports import Reporter


def run(
    spec: JobSpec,
    image: BakedImage,
    account: Account,
    aws: Aws,
    *,
    ledger: Ledger,
    state: StatePaths,
    reporter: Reporter,
    attendance: Callable[[], runs.Attendance],
) -> Receipt:
    """Launch from the image and test it; gives the receipt, which has the times.

    Raises `ProvisionError` where the test fails, `Cancelled`, and what a launch raises.
    """
    began = datetime.now(UTC)
    there = aws.at(image.region)
    live: LiveRun = creation.create(
        spec,
        plan.make(spec, there, ledger.cache),
        account,
        there,
        ledger=ledger,
        state=state,
        reporter=reporter,
        planning_began=began,
    )
    reporter.note(f"run {live.run_id} tests image {image.image_id}")
    outcome = runs.attend(live, attendance())
    if outcome.exit_status == Cancelled.exit_code:
        raise Cancelled("the test was stopped", hint=f"gpurun ami verify {image.image_id}")
    if outcome.exit_status or outcome.receipt is None:
        raise ProvisionError(
            f"a machine from image {image.image_id} fails its smoke test (exit status {outcome.exit_status})",
            hint=f"gpurun logs {live.run_id}",
        )
    return outcome.receipt
