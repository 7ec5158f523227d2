"""What of a command line a page shows."""

from hypothesis import given
from hypothesis import strategies as st

from launcher.compare.shown import shown

SECRET = "s3cr3t-token"
GROUPS = st.lists(st.sampled_from([["--env", f"A={SECRET}"], [f"--env=B={SECRET}"], ["--env", ""], ["--json"]]))


def test_values_of_the_environment_are_hidden_and_nothing_else():
    words = ["gpurun", "compare-cpu-gpu", "train.py", "--env", f"TOKEN={SECRET}", f"--env=X={SECRET}", "--repeat", "3"]
    assert shown(words) == (
        *("gpurun", "compare-cpu-gpu", "train.py", "--env", "TOKEN=...", "--env=X=...", "--repeat", "3"),
    )


def test_the_scripts_own_arguments_stay():
    words = ("gpurun", "compare-cpu-gpu", "train.py", "--", "--env", "NAME=value")
    assert shown(words) == words


@given(GROUPS)
def test_no_value_of_an_env_option_is_ever_shown(groups):
    words = [word for group in groups for word in group]
    told = shown(words)
    assert len(told) == len(words)
    assert not any(SECRET in word for word in told)
