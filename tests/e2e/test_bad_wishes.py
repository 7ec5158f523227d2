"""What no machine, budget or region can grant is told before anything is bought."""

import pytest


@pytest.mark.parametrize(
    ("flags", "status", "said", "hinted"),
    [
        (("--max-cost", "0.0001"), 8, "buys 0 s", "--max-cost"),
        (("--max-hours", "0"), 2, "--max-hours", "gpurun launch --help"),
        (("--max-price", "0.0001"), 4, "none of", "limits.max_price"),
        (("--region", "us-east-9"), 2, "no AWS region 'us-east-9'", "us-east-"),
        (("--instance-type", "g4dn.xlarge", "--gpu", "a100"), 4, "gpu kind a100", "gpu kinds there: t4"),
        (("--instance-type", "g4dn.xlrge"), 2, "does not offer g4dn.xlrge", "g4dn.xlarge"),
        (("--zone", "eu-west-1a", "--region", "us-east-1"), 2, "lies outside of us-east-1", "gpurun launch --help"),
        (("--architecture", "risc"), 2, "expected x86_64 or arm64", "gpurun launch --help"),
        (("--checkpoint-size", "much"), 2, "--checkpoint-size: 'much' is not a size", "2 GB"),
    ],
)
def test_bad_wishes_are_told_with_the_next_step_before_anything_is_made(laptop, flags, status, said, hinted):
    done = laptop.gpurun("launch", "--sandbox", *flags, laptop.job("true\n"))
    assert (done.returncode, said in done.stderr, hinted in done.stderr) == (status, True, True), done.stderr
    assert laptop.runs() == []
