"""Looking before buying: `gpurun offers` and `gpurun launch --dry-run` as a person runs them."""

import json

import pytest

TWO = ("--region", "us-east-1", "--region", "eu-west-1")


@pytest.fixture
def nowhere(laptop) -> dict[str, str]:
    """An account whose endpoint nobody answers at."""
    config, credentials = laptop.home / "config", laptop.home / "credentials"
    config.write_text("[default]\nendpoint_url = http://127.0.0.1:9\nregion = us-east-1\n")
    credentials.write_text("[default]\naws_access_key_id = AKIATEST\naws_secret_access_key = secret\n")
    return {"AWS_CONFIG_FILE": str(config), "AWS_SHARED_CREDENTIALS_FILE": str(credentials)}


def test_offers_are_a_table_and_what_lies_below_it(laptop):
    done = laptop.gpurun("offers", "--sandbox", "--gpu", "t4", *TWO, "--limit", "4", "--max-cost", "2")
    assert done.returncode == 0, done.stderr
    head, *rows = done.stdout.splitlines()
    assert head == head.rstrip()
    assert [word for word in ("pool", "USD/h", "run, USD", "interruptions", "saves", "price") if word not in head] == []
    assert rows[0].startswith("g4dn.xlarge")
    assert "t4 16 GiB" in rows[0]
    below = "\n".join(rows[4:])
    assert "USD expected for 4 h of work" in below
    assert "(assumed)" in below
    assert "in the dearest of the" in below
    assert "2 USD buy" in below


def test_json_has_every_figure_that_the_order_rests_on(laptop):
    asked = ("--data-size", "1 GB", "--max-hours", "10", "--checkpoint-size", "3 GB")
    done = laptop.gpurun("offers", "--sandbox", "--gpu", "1", "--json", *asked)
    told = json.loads(done.stdout)
    rests_on = told["assumptions"]
    assert rests_on["setup_s"] == rests_on["boot_s"]["value"] + 1e9 / rests_on["upload_bytes_per_s"]["value"]
    assert rests_on["work_hours"] == 10
    costs = []
    for offer in told["offers"]:
        expected = offer["expected"]
        rate = sum(expected["hourly"].values())
        work, setup = rate * 10, rate * rests_on["setup_s"] / 3600
        again = rate * expected["interruptions"] * rests_on["restart_s"] / 3600
        assert expected["total_usd"] == pytest.approx(work + setup + again)
        costs.append(expected["total_usd"])
    assert costs == sorted(costs)
    assert told["notice"]["fits"] is False
    assert told["notice"]["seconds"] == 240
    assert {offer["market"] for offer in told["offers"]} <= {"spot", "on-demand"}
    spot = next(offer for offer in told["offers"] if offer["market"] == "spot")
    assert spot["expected"]["placement_score"] == 9
    assert 0 < spot["expected"]["daily_volatility"] < 0.2


def test_arm_machines_come_with_an_image_that_fits(laptop):
    laptop.job("true\n")
    done = laptop.gpurun(
        "launch", "--sandbox", "--dry-run", "--json", "--device", "cpu", "--architecture", "arm64", "job.sh"
    )
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert {offer["architecture"] for offer in plan["offers"]} == {"arm64"}
    assert plan["image"]["architecture"] == "arm64"
    assert {offer["instance_type"].partition(".")[0][-1] for offer in plan["offers"]} == {"g"}


def test_every_region_at_once(laptop):
    done = laptop.gpurun("offers", "--sandbox", "--gpu", "t4", "--region", "all", "--json", "--limit", "10000")
    regions = {offer["region"] for offer in json.loads(done.stdout)["offers"]}
    assert {"us-east-1", "eu-west-1", "ap-northeast-1"} <= regions
    assert "ap-east-1" not in regions


def test_offline_a_newcomer_sees_dated_figures_and_launches_nothing(laptop, nowhere):
    job = laptop.job("true\n")
    offers = laptop.gpurun("offers", "--gpu", "t4", **nowhere)
    assert offers.returncode == 0, offers.stderr
    assert "snapshot of 2026-08-17" in offers.stdout
    dry = laptop.gpurun("launch", "--dry-run", job, **nowhere)
    assert dry.returncode == 0, dry.stderr
    assert "snapshot of 2026-08-17" in dry.stderr
    real = laptop.gpurun("launch", "--yes", job, **nowhere)
    assert real.returncode == 4
    assert "--dry-run plans with figures of 2026-08-17" in real.stderr
    assert laptop.runs() == []


def test_with_nothing_set_up_prices_are_shown_all_the_same(laptop):
    nothing = {"AWS_CONFIG_FILE": "/nonexistent", "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent"}
    done = laptop.gpurun("offers", AWS_EC2_METADATA_DISABLED="true", **nothing)
    assert done.returncode == 0, done.stderr
    assert "no AWS credentials were found" in done.stdout


def test_a_run_that_moved_data_teaches_the_next_plan(laptop):
    (laptop.work / "data.bin").write_bytes(bytes(range(256)) * 40_000)
    job = laptop.job("head -c 8000000 /dev/urandom > $GPURUN_CHECKPOINT_DIR/weights.bin\n")
    assert laptop.gpurun("launch", "--sandbox", job).returncode == 0
    done = laptop.gpurun("launch", "--sandbox", "--dry-run", "--json", job)
    plan = json.loads(done.stdout)
    (run,) = laptop.runs()
    assert plan["notice"]["checkpoint_bytes"] == {"value": 8_000_000, "source": f"run {run['run_id']}"}
    assert plan["notice"]["bytes_per_s"]["source"] == f"run {run['run_id']}"
    assert plan["assumptions"]["boot_s"]["source"] == "1 earlier runs"
    assert plan["assumptions"]["boot_s"]["value"] < 60
    assert plan["notice"]["fits"] is True
