"""A folder with a spec in it, and what loading it says."""

from collections.abc import Callable
from pathlib import Path

import pytest

from launcher import spec
from launcher.domain import JobSpec
from launcher.errors import SpecError

Load = Callable[[str | bytes], JobSpec]
Mistakes = Callable[[str | bytes], list[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "my project"
    made.mkdir()
    return made


@pytest.fixture
def load(folder: Path) -> Load:
    def write_and_load(text: str | bytes) -> JobSpec:
        path = folder / "gpurun.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return spec.load(path)

    return write_and_load


@pytest.fixture
def mistakes(folder: Path, load: Load) -> Mistakes:
    """The problems of a spec that must not load, without the file's name."""

    def problems(text: str | bytes) -> list[str]:
        with pytest.raises(SpecError) as caught:
            load(text)
        error = caught.value
        prefix = f"{folder / 'gpurun.yaml'}:"
        count = len(error.problems)
        assert error.message == f"{folder / 'gpurun.yaml'} has {count} mistake" + ("s" if count > 1 else "")
        assert error.hint
        assert all(line.startswith(prefix) for line in error.problems)
        return [line.removeprefix(prefix) for line in error.problems]

    return problems
