"""README's promises that a machine can check."""

import json
import re
from pathlib import Path

from launcher import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def _commands() -> list[str]:
    return [block.strip() for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)]


def test_ci_runs_the_second_command_as_it_is_printed():
    (tests,) = [command for command in _commands() if "pytest" in command]
    assert tests in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_first_command_is_one_line_whose_spec_is_there():
    first = _commands()[0]
    assert "\n" not in first
    assert (ROOT / first.split()[-1]).is_file()


def test_every_command_is_in_the_readme():
    for name in cli.COMMANDS:
        assert f"`gpurun {name}" in README, name


def test_the_spec_in_the_readme_is_one(tmp_path, monkeypatch):
    from launcher import spec

    (text,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "gpurun.yaml").write_text(text)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "faces.csv").write_text("label\n")
    monkeypatch.setenv("WANDB_API_KEY", "x")
    loaded = spec.load(tmp_path / "gpurun.yaml")
    assert (loaded.resources.gpu_kind, loaded.limits.max_cost_usd, loaded.keep_on_failure_s) == ("t4", 2, 1800)


def test_the_policy_that_the_readme_names_is_json():
    assert json.loads((ROOT / "docs" / "iam-policy.json").read_text())["Statement"]
