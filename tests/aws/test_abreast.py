"""Several questions at once: each is answered, told as failed, or left to itself."""

import threading
import time

import pytest

from launcher.aws import abreast as room
from launcher.aws.abreast import abreast
from launcher.errors import NoCapacity


def never():
    threading.Event().wait()


def refused():
    raise NoCapacity("none")


def test_answers_and_refusals_come_back_by_name():
    told = abreast({"a": lambda: 1, "b": refused})
    assert told["a"] == 1
    assert isinstance(told["b"], NoCapacity)


def test_one_that_never_answers_does_not_hold_the_others_up(monkeypatch):
    monkeypatch.setattr(room, "MIN_PATIENCE_S", 0.2)
    began = time.monotonic()
    told = abreast({"a": lambda: 1, "b": lambda: 2, "c": never})
    assert told == {"a": 1, "b": 2}
    assert time.monotonic() - began < 5


def test_where_none_answers_the_patience_has_an_end():
    assert abreast({"a": never}, patience_s=0.1) == {}


def test_who_is_slow_together_is_waited_for(monkeypatch):
    """The limit follows what half of them took: slowness that all share is no reason to drop anybody."""
    monkeypatch.setattr(room, "MIN_PATIENCE_S", 0.0)
    gates = {name: threading.Event() for name in "abcd"}

    def answer(name):
        gates[name].wait(10)
        return name

    timer = threading.Timer(0.5, lambda: [gates[name].set() for name in "abc"])
    last = threading.Timer(0.9, gates["d"].set)
    timer.start(), last.start()
    assert set(abreast({name: lambda name=name: answer(name) for name in "abcd"})) == set("abcd")


def test_a_bug_is_raised_where_it_is_seen():
    with pytest.raises(ZeroDivisionError):
        abreast({"a": lambda: 1 // 0})
