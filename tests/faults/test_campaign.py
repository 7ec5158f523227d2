"""Sixty seeded schedules of faults over whole runs; benchmarks/chaos.py plays more of them, or one to look at."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import launcher
import tests.e2e.ami.steps
import tests.schedule.test_champion_killed
from tests.faults.campaign import play_all
from tests.faults.observer import chains, judge_log
from tests.faults.schedules import MOMENTS, Kind, draw

LAUNCHER = Path(launcher.__file__).parent
FORWARDED = {"live.py", "journal.py"}
"""Where the kind is an argument of the function itself."""
SCHEDULES = 60
BATCHES = 4
"""One a test, so that several workers share them; those of a batch are played at once, and wait at once."""
AT_ONCE = 5
MOST = 2 / 3
"""Of the kills and notices of a batch that strike: some wait for what another fault of theirs prevents."""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("batch", range(BATCHES))
def test_whatever_is_done_to_a_run_the_promises_hold(cloud, tmp_path: Path, batch: int) -> None:
    schedules = [draw(seed) for seed in range(batch, SCHEDULES, BATCHES)]
    played = list(play_all(schedules, cloud, tmp_path, at_once=AT_ONCE))
    assert len(played) == len(schedules)
    told = {f"python benchmarks/chaos.py --seed {each.seed}": each.problems for each in played if each.problems}
    assert told == {}
    assert [each for each in played if each.late] == []
    wanted = {Kind.KILL.value, Kind.NOTICE.value}
    struck = sum(kind in wanted for each in played for kind in each.struck)
    missed = sum(kind in wanted for each in played for kind in each.missed)
    assert struck >= MOST * (struck + missed), f"{struck} struck, {missed} did not"


def test_the_schedules_have_a_kill_at_every_event_and_every_kind_of_fault() -> None:
    faults = [fault for seed in range(SCHEDULES) for fault in draw(seed).faults]
    assert {fault.kind for fault in faults} == set(Kind)
    kills = {(fault.at.event, fault.at.wanted) for fault in faults if fault.kind is Kind.KILL}
    assert kills >= {(moment.event, moment.wanted) for moment in MOMENTS}


NO_MOMENT = {
    "status": "written together with the event or phase that moves the run",
    "failed": "the launcher is ending the run, which `ending` and the phase `terminate` are for",
    "bury.failed": "a machine that could not be ended: the end of the run looks again",
    "machine.gone": "written by a command that looks at a run without a launcher",
    "api.calls": "a count for `gpurun status`: nothing hangs on it",
    "image.removed": "of a bake that came to nothing: whoever ends it looks for its images again",
    "collected": "written by `gc` of a run without a launcher",
    "given.up": "written by `gpurun down` beside the launcher, for machines of the user's own",
    "vacated": "of a machine of the user's own: none of the cloud's is at stake",
    "connected": "between the phases `connect` and `sync`, at both of which it is killed",
}
"""Kinds of events at which no launcher is killed, and why."""
STEPS_OF_OTHERS = {"bake": tests.e2e.ami.steps.STEPS, "schedule": tests.schedule.test_champion_killed.MOMENTS}
"""Packages that write events of their own, which no launch of this campaign sees, and where their tests kill them."""
NO_STEP = {
    "claimed": "in the midst of waiting for an image, as at `image`",
    "inherits": "on a machine of a deployed schedule: nobody goes on with what dies there",
}


def test_the_launcher_is_killed_at_every_kind_of_event_and_phase_that_a_launch_writes() -> None:
    rooms = {path for room in STEPS_OF_OTHERS for path in (LAUNCHER / room).rglob("*.py")}
    trees = {path: ast.parse(path.read_text()) for path in LAUNCHER.rglob("*.py") if path not in rooms}
    kinds = set().union(*(_kinds(path, tree) for path, tree in trees.items()))
    phases = set().union(*(_phases(tree) for tree in trees.values()))
    wanted = {moment.event for moment in MOMENTS}
    assert kinds == wanted | set(NO_MOMENT)
    assert not wanted & set(NO_MOMENT)
    assert phases == {dict(moment.wanted)["name"] for moment in MOMENTS if moment.event == "phase"}


@pytest.mark.parametrize("room", STEPS_OF_OTHERS)
def test_whoever_else_writes_events_is_killed_at_each_kind_of_them(room: str) -> None:
    trees = {path: ast.parse(path.read_text()) for path in (LAUNCHER / room).rglob("*.py")}
    kinds = set().union(*(_kinds(path, tree) for path, tree in trees.items()))
    own = kinds - {moment.event for moment in MOMENTS} - set(NO_MOMENT)
    steps = {step.split()[0] for step in STEPS_OF_OTHERS[room]}
    assert own
    assert own <= steps | set(NO_STEP)
    assert not steps & set(NO_STEP)


def _kinds(path: Path, tree: ast.Module) -> set[object]:
    """The kinds of events that a module writes; a kind may be a constant of it."""
    constants = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    found: set[object] = set()
    for call in _calls(tree, ".event", "_add_event"):
        said = [constants.get(each.id, each) if isinstance(each, ast.Name) else each for each in call.args]
        kinds = {each.value for each in said if isinstance(each, ast.Constant)}
        assert kinds or path.name in FORWARDED, ast.unparse(call)
        found |= kinds
    return found


def _phases(tree: ast.Module) -> set[object]:
    """The phases that a module enters; which of two may hang on the machine's number."""
    constants = [each for call in _calls(tree, "phases.enter") for each in ast.walk(call.args[0])]
    return {each.value for each in constants if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def _calls(tree: ast.Module, *ends: str) -> list[ast.Call]:
    """Calls of what ends so."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(ends)]


def test_a_seed_always_gives_the_same_schedule() -> None:
    assert [draw(seed) for seed in range(20)] == [draw(seed) for seed in range(20)]


@pytest.mark.parametrize(
    ("steps", "wrong"),
    [
        ([1, 2, 3], ""),
        ([1, 2, 3, 2, 3], ""),
        ([1, 3], "from step 1 to step 3"),
        ([2, 3], "from step 0 to step 2"),
    ],
)
def test_a_log_with_a_gap_is_found_out(steps: list[int], wrong: str) -> None:
    right = chains(5)
    found, problems = judge_log("".join(f"step {step} {right[step][:16]}\n" for step in steps).encode(), right)
    assert found == steps
    assert wrong in "".join(problems)
    assert bool(wrong) == bool(problems)
