"""Runs of a sandbox cloud without hosts, with a plan of the test's own over three regions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from launcher import creation
from launcher.aws import images
from launcher.aws.client import Aws
from launcher.cost import estimate
from launcher.domain import (
    Image,
    JobSpec,
    Limits,
    Market,
    Offer,
    Plan,
    Requirements,
    SpotPolicy,
    TransferProgress,
)
from launcher.ledger import Ledger
from launcher.live import LiveRun
from launcher.paths import StatePaths
from launcher.sandbox.client import SandboxClient
from launcher.sandbox.control import Sandbox
from tests.acquire.pools import offers_in

REGIONS = ("us-east-1", "us-west-2", "eu-west-1")


@dataclass
class Told:
    """A reporter that remembers."""

    notes: list[str] = field(default_factory=list)

    def phase(self, name: str, detail: str = "") -> None:
        pass

    def note(self, message: str) -> None:
        self.notes.append(message)

    warn = note

    def transfer(self, progress: TransferProgress) -> None:
        pass

    def log(self, data: bytes) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass
class Cloud:
    """The sandbox as these tests speak to it."""

    admin: SandboxClient
    aws: Aws

    def refuse(self, code: str, *, region: str = "", times: int = -1, **params: str) -> None:
        """Have pools refuse: in a region, of a type, a zone or a market."""
        match = {"action": "CreateFleet", "region": region, "params": {"InstanceType": ".+", **params}}
        self.admin.fault({"match": match, "effect": {"error": code}, "times": times})

    def strike(self, *, action: str = "CreateFleet", region: str = "", times: int = -1, **effect: object) -> None:
        """Have whole calls fail."""
        self.admin.fault({"match": {"action": action, "region": region}, "effect": effect, "times": times})

    def calls(self, action: str = "") -> list[dict]:
        return [each for each in self.admin.journal() if action in {"", each["action"]}]

    def machines(self) -> list[dict]:
        standing = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
        return [
            instance
            for region in REGIONS
            for reservation in self.aws.at(region).ec2.describe_instances(Filters=standing)["Reservations"]
            for instance in reservation["Instances"]
        ]

    def left(self) -> dict[str, list[dict]]:
        """What carries a run's tag and is no machine, by region."""
        ours = [{"Name": "tag-key", "Values": ["gpurun:run"]}]
        found: dict[str, list[dict]] = {}
        for region in REGIONS:
            ec2 = self.aws.at(region).ec2
            found[region] = [
                *ec2.describe_launch_templates(Filters=ours)["LaunchTemplates"],
                *ec2.describe_security_groups(Filters=ours)["SecurityGroups"],
                *ec2.describe_key_pairs(Filters=ours)["KeyPairs"],
            ]
        return {region: things for region, things in found.items() if things}


@pytest.fixture
def cloud(sandbox_none: Sandbox) -> Iterator[Cloud]:
    admin = SandboxClient(sandbox_none.endpoint_url)
    it = Cloud(admin=admin, aws=Aws(sandbox_none.account))
    admin.clear_journal()
    yield it
    admin.clear_faults()
    admin.settings(quotas=dict.fromkeys(admin.settings()["quotas"], 1152.0), pending_s=0.0)
    for region in REGIONS:
        ec2 = it.aws.at(region).ec2
        ids = [each["InstanceId"] for each in it.machines() if each["Placement"]["AvailabilityZone"].startswith(region)]
        if ids:
            ec2.terminate_instances(InstanceIds=ids)
    for region, things in it.left().items():
        for thing in things:
            if "LaunchTemplateId" in thing:
                it.aws.at(region).ec2.delete_launch_template(LaunchTemplateId=thing["LaunchTemplateId"])


def _wish_for(offers: Sequence[Offer]) -> Requirements:
    """What asks for these pools and no others: a later machine is planned anew, from the spec alone."""
    spot_alone = all(offer.market is Market.SPOT for offer in offers)
    return Requirements(
        instance_types=tuple(dict.fromkeys(offer.instance_type for offer in offers)),
        regions=tuple(dict.fromkeys(offer.region for offer in offers)),
        zones=tuple(dict.fromkeys(offer.zone for offer in offers)),
        spot=SpotPolicy.SPOT if spot_alone else SpotPolicy.PREFER_SPOT,
    )


@pytest.fixture
def image(sandbox_none: Sandbox) -> Image:
    return images.resolve(Aws(sandbox_none.account), "")


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "state" / "ledger.db") as ledger:
        yield ledger


@pytest.fixture
def run(
    cloud: Cloud, image: Image, book: Ledger, sandbox_none: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., LiveRun]:
    """Make a run with these offers, images of all their regions known, and the journal empty."""
    monkeypatch.chdir(tmp_path)

    def make(*offers: Offer, name: str = "search", limits: Limits | None = None) -> LiveRun:
        asked = offers or tuple(offers_in("us-east-1"))
        spec = JobSpec(
            name=name, argv=("true",), workdir=tmp_path, limits=limits or Limits(), resources=_wish_for(asked)
        )
        price = estimate(asked[0].price_usd_per_hour, 60, asked[0].region)
        plan = Plan(offers=asked, image=image, cost=price, dearest=price, hours=1.0)
        live = creation.create(
            spec,
            plan,
            sandbox_none.account,
            cloud.aws,
            ledger=book,
            state=StatePaths(tmp_path / "state"),
            reporter=Told(),
            planning_began=datetime.now(UTC),
        )
        from launcher import search

        for region in dict.fromkeys(offer.region for offer in asked):
            search.image_in(live, cloud.aws.at(region), "x86_64")
        cloud.admin.clear_journal()
        return live

    return make
