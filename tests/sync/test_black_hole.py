"""A path that drops full-size packets and says nothing (RFC 2923): made of network namespaces, by `black_hole.py`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("black_hole.py")
ENVIRONMENT = {**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}
OWN_NETWORK = ["unshare", *(["-Ur"] if os.geteuid() else []), "-n"]

pytestmark = [pytest.mark.namespaces, pytest.mark.slow]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What happened on each kind of line."""
    try:
        subprocess.run(
            [*OWN_NETWORK, "ip", "link", "add", "hub", "type", "bridge"],
            env=ENVIRONMENT,
            check=True,
            capture_output=True,
        )
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces with a bridge can be made here: {error}")
    done = subprocess.run(
        [*OWN_NETWORK, sys.executable, str(SCRIPT), str(tmp_path_factory.mktemp("hole"))],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        check=True,
        timeout=90,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("way", ["upload", "download"])
def test_bulk_that_vanishes_is_noticed_and_told_from_a_dead_network(seen, way) -> None:
    line = seen[f"{way} full"]
    assert line["small"], "small packets pass: the line is made, and a short command runs"
    assert not line["whole"]
    assert "stopped answering" in line["lost"]
    assert line["stalled"]
    assert line["seconds"] < 5, "1 s until it is asked, 3 s until it is given up, were set"
    assert not seen["cut"]["stalled"]
    assert "stopped answering" in seen["cut"]["lost"]


@pytest.mark.parametrize("way", ["upload", "download"])
def test_small_segments_pass_both_ways(seen, way) -> None:
    line = seen[f"{way} small"]
    assert line["segment_bytes"] <= 1200 < seen[f"{way} full"]["segment_bytes"]
    assert line["whole"]


def test_a_handshake_that_vanishes_is_tried_again_with_small_segments(seen) -> None:
    assert seen["handshake"]["segment_bytes"] <= 1200
    assert seen["handshake"]["whole"]
