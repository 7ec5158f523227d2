"""The promises, held against what a trial left: nothing billed, nothing lost, nothing half; and the truth told."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.observer import BILLED, Thing, judge_log, processes_with, strays, weights_in
from tests.faults.schedules import After, Kind

if TYPE_CHECKING:
    from tests.faults.trial import Trial

MAY_FAIL: dict[str, str] = {
    Kind.NO_CAPACITY: r"capacity",
    Kind.FORBIDDEN: r"permi|authorized",
    Kind.STORM: r"throttl|RequestLimitExceeded|rate exceeded",
    Kind.EXPIRED: r"credential|expired",
    Kind.FULL_HOME: r"No space|disk|written|full",
    Kind.FULL_HOST: r"No space|disk|full|exited with status",
}
"""Faults that may end a run, and what its reason must then speak of."""
NEVER_UP = r"never answered SSH"
"""Of a run whose first machine was struck before anybody had reached it."""
SCARCE = r"budget|max_cost|left until the run's deadline"
"""The deadline of such a run is what its money buys."""
LEFT_ALONE = r"deadline|time was up|less than a minute|left until|max_hours|gone|InitiatedShutdown|ended by the user"


def judge(trial: Trial) -> None:
    """Add to the trial's problems and counts."""
    run = trial.book.run()
    played = trial.played
    if run:
        played.status, played.reason, played.machines = run["status"], run["reason"], trial.book.segments()
    else:
        played.status, played.reason = "refused", _last_error(trial)
    judges = [_told_truth(trial), _nothing_left(trial), _no_traceback(trial)]
    if run:
        results = Path(run["results_dir"])
        judges += [_results(trial, results), _checkpoints(trial, results), _sent(trial, run["run_id"])]
        judges.append(_within_the_cap(trial, run["receipt"]))
    played.problems.extend(problem for judge in judges for problem in judge)


def billed(left: list[Thing]) -> list[Thing]:
    """Of what is left, what costs money."""
    return [each for each in left if each[0] in BILLED]


def _told_truth(trial: Trial) -> list[str]:
    played, schedule = trial.played, trial.schedule
    if played.status == "succeeded":
        return []
    if played.status not in {"failed", "cancelled", "refused"}:
        return [f"the run is {played.status} for ever"]
    allowed = [SCARCE] if schedule.scarce else []
    allowed += [MAY_FAIL[kind] for kind in played.struck if kind in MAY_FAIL]
    if schedule.after is not After.RESUME:
        allowed.append(LEFT_ALONE)
    if schedule.has(Kind.DEATH, Kind.CUT_OFF) and not any(told.kind == "connected" for told in trial.events):
        allowed.append(NEVER_UP)
    if not any(re.search(pattern, played.reason, re.IGNORECASE) for pattern in allowed):
        return [f"{played.status}, and nothing that was done explains it: {played.reason!r}"]
    return []


def _nothing_left(trial: Trial) -> list[str]:
    left = trial.left()
    trial.played.leftovers += len(left)
    found = [f"left behind: {kind} {what}" for kind, what in left]
    words = [f"HOME={trial.laptop.home}\0", *_machines(trial)]
    return found + [f"still running: {line}" for word in words for line in processes_with(word)]


def _machines(trial: Trial) -> list[str]:
    return [told.data["id"] for told in trial.events if told.kind == "instance"]


def _no_traceback(trial: Trial) -> list[str]:
    home = trial.laptop.home
    texts = [(home / name).read_text(errors="replace") for name in ("stdout", "stderr") if (home / name).exists()]
    found = [f"a traceback: {text[text.index(word) :][:600]}" for text in texts for word in TRACES if word in text]
    found += [f"a crash: {path.read_text()[-900:]}" for path in trial.laptop.state.home.glob("crash-*")]
    return found


TRACES = ("Traceback (most recent", "a bug in gpurun", "Exception in thread", "Exception ignored")


def _results(trial: Trial, results: Path) -> list[str]:
    """What lies in the results folder is whole, and of a run that succeeded it is all there."""
    played, schedule = trial.played, trial.schedule
    if not results.is_dir():
        return [f"succeeded without {results}"] if played.status == "succeeded" else []
    weights = weights_in(results, trial.right)
    played.corrupt += len(weights.broken)
    found = [f"corrupt: {name}" for name in weights.broken] + [f"a stray file: {name}" for name in strays(results)]
    if played.status != "succeeded":
        return found
    if weights.steps.get("weights.bin") != schedule.steps:
        found.append(f"succeeded with weights of step {weights.steps.get('weights.bin')}, not {schedule.steps}")
    return found + _log(trial, results / "gpurun" / "log.txt")


def _log(trial: Trial, path: Path) -> list[str]:
    if not path.exists():
        return ["succeeded without a log"]
    steps, wrong = judge_log(path.read_bytes(), trial.right)
    again = sum(after <= before for before, after in pairwise(steps))
    if again > trial.played.machines - 1:
        wrong.append(f"the log goes back {again} times over {trial.played.machines} machines")
    if steps[-1:] != [trial.schedule.steps]:
        wrong.append(f"the log ends at step {steps[-1:]}")
    return wrong


def _checkpoints(trial: Trial, results: Path) -> list[str]:
    """Each that was reported as saved was whole, was what the next machine began with, and is not fallen behind."""
    found: list[str] = []
    newest = 0
    for told in trial.events:
        if told.kind == "checkpoint.saved":
            trial.played.saved += 1
            newest = told.data["generation"]
        elif told.kind == "restored" and told.data["generation"] < newest:
            found.append(f"generation {told.data['generation']} was put on a machine, though {newest} was saved")
    found += [f"generation {number} was saved broken" for number, step in trial.saved_steps.items() if step is None]
    furthest = max((step for step in trial.saved_steps.values() if step is not None), default=0)
    homes = [results, trial.laptop.state.runs / trial.book.run()["run_id"] / "shipments"]
    home = max(weights_in(folder, trial.right).furthest for folder in homes)
    if home < furthest:
        found.append(f"step {furthest} was saved, and what is home is of step {home}")
    trial.played.lost += len(found)
    return found


def _within_the_cap(trial: Trial, receipt: str | None) -> list[str]:
    """What the run's receipt says that it has cost is no more than it was allowed to."""
    cap_usd = trial.schedule.max_cost_usd
    if trial.played.machines and receipt is None:
        return ["a machine was bought, and there is no receipt"]
    if receipt is not None:
        trial.played.cost_usd = json.loads(receipt)["cost_usd"]
    if cap_usd is not None and trial.played.cost_usd > cap_usd:
        return [f"it has cost {trial.played.cost_usd:.4f} USD, and was allowed {cap_usd:g}"]
    return []


def _sent(trial: Trial, run_id: str) -> list[str]:
    """What a machine told as sent to S3 is there whole, and comes home whole."""
    if trial.bucket is None:
        return []
    there = trial.bucket.sent(run_id, trial.right)
    trial.played.sent = len(there)
    found = [f"S3 has generation {each.number} broken: {what}" for each in there for what in each.broken]
    if not there:
        return ["nothing is left in S3 of what was there"] if trial.sent else []
    if trial.sent and (there[0].segment, there[0].step) < (trial.sent[0].segment, trial.sent[0].step):
        found.append(f"step {trial.sent[0].step} was in S3, and now it is step {there[0].step}")
    fetched = weights_in(trial.fetched, trial.right)
    found += [f"came home from S3 corrupt: {name}" for name in fetched.broken]
    # Of a run whose results are home already, `fetch-weights` takes those.
    home = max(fetched.furthest, weights_in(Path(trial.book.run()["results_dir"]), trial.right).furthest)
    if home < there[0].step:
        found.append(f"step {there[0].step} lies in S3, and step {home} came home")
    trial.played.lost += len(found)
    return found


def _last_error(trial: Trial) -> str:
    path = trial.laptop.home / "stderr"
    lines = path.read_text(errors="replace").splitlines() if path.exists() else []
    return next((line for line in reversed(lines) if line.startswith("error:")), "")
