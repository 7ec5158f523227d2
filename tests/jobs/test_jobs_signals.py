"""A signal that comes while modules are being imported."""

import signal

import pytest

from jobs.signals import StopRequest, ends_as_asked


class Struck:
    """A part of a class that is being made when the signal comes."""

    def __init__(self, stop: StopRequest) -> None:
        self.stop = stop

    def __set_name__(self, owner: type, name: str) -> None:
        self.stop._receive(signal.SIGTERM, None)


def test_one_that_comes_while_a_class_is_made_ends_the_job_with_its_status():
    stop = StopRequest()
    with pytest.raises(SystemExit) as ended, ends_as_asked():
        type("Made", (), {"part": Struck(stop)})
    assert ended.value.code == 128 + signal.SIGTERM


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="a bug"), ends_as_asked():
        raise RuntimeError("a bug")
