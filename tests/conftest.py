"""What all tests share: a state folder of their own, no AWS variables of the caller's, and sandbox clouds."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from launcher.paths import StatePaths
from launcher.sandbox import control
from launcher.sandbox.control import Sandbox
from tests import keeper
from tests.once import Once, for_this_run
from tests.ordering import longest_first


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest comes first."""
    items[:] = longest_first(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell starts background commands with SIGINT ignored, which every child would inherit; tests send it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that tests begin outlives this process, also where it is killed."""
    with keeper.start(tmp_path_factory.getbasetemp()):
        yield


@pytest.fixture(scope="session", autouse=True)
def isolated_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StatePaths]:
    """Nothing of the person's who runs the tests is read or written, in this process or those that it starts."""
    home = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("XDG_STATE_HOME", str(home))
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        yield StatePaths(home / "gpurun")


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Makes what is dear and only looked at: `once(name, make)` gives what one worker made, to all of them."""
    return for_this_run(tmp_path_factory)


@pytest.fixture(scope="session")
def sandbox_none(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox cloud whose instances have no hosts; one for each test worker."""
    state = tmp_path_factory.mktemp("none") / "sandbox"
    yield control.start(state, hosts="none")
    control.stop(state)


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox cloud with the best hosts that this machine can make; one for each test worker."""
    state = tmp_path_factory.mktemp("hosts") / "sandbox"
    yield control.start(state)
    control.stop(state)


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """Another such cloud, for tests that run gpurun as a person does: those above change their cloud's own ways."""
    state = StatePaths(tmp_path_factory.mktemp("cloud") / "gpurun").sandbox
    yield control.start(state)
    control.stop(state)
