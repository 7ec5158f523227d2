"""`gpurun gc` over many regions full of what dead runs have left, on a sandbox of its own.

    .venv/bin/python benchmarks/gc.py [--regions 16] [--resources 1000] [--write]

Nothing is kept: the ledger is empty, so that tags alone tell. As many foreign things lie between ours, and must stay.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from report.machine import commit, machine
from report.section import write_section
from report.stopping import stoppable
from report.table import seconds, table

from launcher.aws import network, regions
from launcher.aws.client import Aws
from launcher.owner import TAG_OWNER, owner
from launcher.sandbox import control
from launcher.sandbox.client import SandboxClient
from launcher.sync.ssh import keys

GOAL_S = 60.0
MIX = {"instance": 0.2, "volume": 0.2, "key-pair": 0.2, "launch-template": 0.2, "security-group": 0.2}


def main() -> None:
    asked = arguments()
    with stoppable("nothing is left"), tempfile.TemporaryDirectory(prefix="gpurun-bench-gc-") as home:
        state = Path(home, "gpurun", "sandbox")
        try:
            text = measure(control.start(state, hosts="none", timeout_s=300), Path(home), asked)
        finally:
            control.stop(state)
    print(text)
    if asked.write:
        write_section("gc", "benchmarks/gc.py", text)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--regions", type=int, default=16)
    parser.add_argument("--resources", type=int, default=1000, help="of ours, over all regions")
    parser.add_argument("--write", action="store_true", help="put the table into RESULTS.md")
    return parser.parse_args()


def measure(sandbox: control.Sandbox, home: Path, asked: argparse.Namespace) -> str:
    aws = Aws(sandbox.account)
    names = regions.enabled(aws)[: asked.regions]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: fill(aws.at(name), asked.resources // len(names)), names))
    admin = SandboxClient(sandbox.endpoint_url)
    rows = []
    for title, options, removes in (("search", (), False), ("--yes", ("--yes",), True), ("search again", (), False)):
        admin.clear_journal()
        told, took_s = gc(home, options)
        calls = Counter(call["action"] for call in admin.journal())
        found = len(told["removed"] if removes else told["would_remove"])
        rows.append([f"`gpurun gc` {title}", str(found), str(sum(calls.values())), seconds(took_s)])
        if told["failed"] or told["unsearched"]:
            sys.exit(f"{title}: {told['failed'] or told['unsearched']}")
    foreign = sum(len(aws.at(name).ec2.describe_volumes()["Volumes"]) for name in names)
    return "\n".join(
        [
            "## gc",
            "",
            f"Made by `python benchmarks/gc.py`: {len(names)} regions with over {asked.resources} things that carry",
            "a tag of ours: machines, detached volumes, key pairs, launch templates and security groups, a fifth each.",
            f"Beside them {foreign} volumes of others, which stay. Whole processes, an empty ledger, a sandbox with no",
            f"hosts. Goal: {GOAL_S:.0f} s.",
            "",
            f"{machine()}, commit {commit()}, load {os.getloadavg()[0]:.1f}",
            "",
            table(("", "things", "API calls", "s"), rows),
            "",
        ]
    )


def gc(home: Path, options: tuple[str, ...]) -> tuple[dict[str, list[object]], float]:
    env = {**os.environ, "XDG_STATE_HOME": str(home)}
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "launcher.cli", "gc", "--sandbox", "--json", *options],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    took_s = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout), took_s


def fill(aws: Aws, count: int) -> None:
    """A region with `count` things of ours, and volumes of others."""
    ec2 = aws.ec2
    each = {kind: math.ceil(count * share) for kind, share in MIX.items()}
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    born = {"ImageId": image, "InstanceType": "t3.micro", "TagSpecifications": tagged("instance", f"m-{aws.region}")}
    if each["instance"]:
        ec2.run_instances(MinCount=each["instance"], MaxCount=each["instance"], **born)
    zone = ec2.describe_availability_zones()["AvailabilityZones"][0]["ZoneName"]
    for number in range(max(each.values())):
        run_id = f"r{number}-{aws.region}"
        ec2.create_volume(AvailabilityZone=zone, Size=1)
        if number < each["volume"]:
            ec2.create_volume(AvailabilityZone=zone, Size=1, TagSpecifications=tagged("volume", run_id))
        if number < each["key-pair"]:
            ec2.import_key_pair(
                KeyName=run_id,
                PublicKeyMaterial=keys.generate("bench").public_line.encode(),
                TagSpecifications=tagged("key-pair", run_id),
            )
        if number < each["launch-template"]:
            ec2.create_launch_template(
                LaunchTemplateName=run_id,
                LaunchTemplateData={"InstanceType": "t3.micro"},
                TagSpecifications=tagged("launch-template", run_id),
            )
        if number < each["security-group"]:
            network.open_ingress(aws, run_id=run_id, cidr="203.0.113.7/32", tags={TAG_OWNER: owner()})


def tagged(kind: str, run_id: str) -> list[dict[str, object]]:
    tags = {"gpurun:run": run_id, TAG_OWNER: owner()}
    return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}]


if __name__ == "__main__":
    main()
