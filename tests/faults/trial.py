"""One schedule of faults, played on a whole run from its launch to the end of everything that it made."""

from __future__ import annotations

import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from launcher.errors import GpurunError
from launcher.sandbox.client import SandboxClient
from launcher.sandbox.control import Sandbox
from tests.e2e.conftest import Laptop
from tests.faults import verdict
from tests.faults.bucket import Bucket, Sent
from tests.faults.observer import KEY, Book, Cloud, Thing, Told, chains, step_of
from tests.faults.schedules import After, Fault, Kind, Moment, Schedule

PATIENCE_S = 300.0
"""By when a run that is attended, or resumed, has come to its end."""
LOST_AFTER_S = 4.0
BOOT_TIMEOUT_S = 45.0
AWAY_S = 2.0
PATIENCE = ("--lost-after", str(LOST_AFTER_S), "--boot-timeout", str(BOOT_TIMEOUT_S))
SENT_WITHIN_S = 6.0
RESUMES = 6
COLLECTIONS = 3
MARGIN_S = 15.0
"""After the deadline, by when nothing is billed any more."""
LOOK_S = 0.05
HELD = Path(__file__).with_name("held.py")
LAGS_S = (0.0, LOOK_S)
"""How long a launcher goes on after the event at which it is killed: what it does next is begun, or it is not."""
TYPES = ("t3.medium", "m5.large", "c5.large")
"""Few are looked up soon: planning is not what is tried here."""
STORM_SHARE = 0.3
FINAL = ("succeeded", "failed", "cancelled")
HOME_MIB = 64


@dataclass(slots=True, kw_only=True)
class Played:
    """What came of a schedule."""

    seed: int
    struck: list[str] = field(default_factory=list)
    """Kinds of the faults that did strike: of a rule of the API, that it met a call."""
    missed: list[str] = field(default_factory=list)
    """Those whose moment never came, and those that met nothing."""
    late: list[str] = field(default_factory=list)
    """Moments that came while a launcher was there, and at which it was not killed."""
    status: str = ""
    reason: str = ""
    machines: int = 0
    saved: int = 0
    """Checkpoints that were reported as saved."""
    sent: int = 0
    """Generations that lie in S3 in the end."""
    lost: int = 0
    corrupt: int = 0
    leftovers: int = 0
    cost_usd: float = 0.0
    """By the receipt."""
    resumed: int = 0
    api_calls: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    folder: str = ""
    """Where all is kept of one with problems."""


class Trial:
    """One schedule, played from the launch to the end of everything that it made."""

    def __init__(self, schedule: Schedule, sandbox: Sandbox, region: str, folder: Path, cloud: Cloud) -> None:
        self.schedule = schedule
        self.region = region
        self.laptop = Laptop(home=folder, cloud=sandbox)
        self.book = Book(self.laptop.state.ledger)
        self.cloud = cloud
        self.before = self.cloud.everything(region)
        self.events: list[Told] = []
        self.saved_steps: dict[int, int | None] = {}
        """Generation -> the step that it held when it was reported; `None` where it was not whole."""
        self.bucket: Bucket | None = None
        self.sent: list[Sent] = []
        """What lay in the bucket before the owner looked again."""
        self.played = Played(seed=schedule.seed, folder=str(folder))
        self.right = chains(schedule.steps)
        self.log: list[str] = []
        """What was done and seen, with times."""
        self._admin = SandboxClient(sandbox.endpoint_url)
        self._pending = list(schedule.faults)
        self._reached: dict[int, float] = {}
        self._cures: list[tuple[float, Fault, Any]] = []
        self._launcher: subprocess.Popen[bytes] | None = None
        self._killed = False
        self._lag_s = random.Random(schedule.seed).choice(LAGS_S)
        self._began = time.monotonic()

    # The play.

    def play(self) -> Played:
        """All of it; what goes wrong in the campaign itself is raised."""
        with self._home():
            try:
                self._live()
                self.played.late = [str(moment) for moment in self._kills_to_come() if self._has_come(moment)]
                self._heal_all()
                self._come_to_the_end()
                self._heal_all(storms=True)
                self._fetch_sent()
                verdict.judge(self)
            finally:
                self._heal_all(storms=True)
                self._tidy()
        self.played.seconds = round(time.monotonic() - self._began, 1)
        return self.played

    @contextmanager
    def _home(self) -> Iterator[None]:
        laptop = self.laptop
        laptop.home.mkdir(parents=True)
        small = self.schedule.has(Kind.FULL_HOME) and os.geteuid() == 0
        if small:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={HOME_MIB}m", "tmpfs", str(laptop.home)], check=True)
        try:
            laptop.work.mkdir()
            laptop.state.home.mkdir(parents=True, mode=0o700)
            laptop.state.sandbox.symlink_to(laptop.cloud.state)
            self._write_job()
            yield
        finally:
            if small:
                kept = laptop.home.with_name(laptop.home.name + "-kept")
                if self.played.problems:
                    shutil.copytree(laptop.home, kept, symlinks=True)
                    self.played.folder = str(kept)
                subprocess.run(["umount", "-l", str(laptop.home)], check=True)

    def _write_job(self) -> None:
        job = self.schedule
        shutil.copy(Path(__file__).with_name("chained.py"), self.laptop.work / "chained.py")
        argv = ["python3", "chained.py", *map(str, (job.steps, job.step_s, job.every, job.habit, job.weights_kib))]
        spec = {"name": f"chaos-{job.seed}", "run": argv, "device": "cpu"}
        if job.durable:
            name = f"chaos-{job.seed}-{secrets.token_hex(4)}"
            self.bucket = Bucket(self.cloud.client("s3", self.region), name, self.region)
            spec["outputs"] = self.bucket.uri
        (self.laptop.work / "chaos.yaml").write_text(json.dumps(spec))

    def _live(self) -> None:
        """The run attended, tormented, and resumed where the schedule says so, until nobody attends it any more."""
        self._strike_what_is_due()
        self._launcher = self._start("launch", "--sandbox", "chaos.yaml", *self._options(), *PATIENCE)
        limit = time.monotonic() + PATIENCE_S
        while time.monotonic() < limit:
            self.see()
            self._strike_what_is_due()
            self._heal_what_is_due()
            if self._launcher.poll() is not None and not self._goes_on():
                return
            time.sleep(LOOK_S)
        self.played.problems.append(f"no end after {PATIENCE_S:.0f} s")
        self._launcher.kill()
        self._launcher.wait()

    def _options(self) -> list[str]:
        job = self.schedule
        options = ["--region", self.region, "--max-hours", f"{job.max_hours:.6f}"]
        options += [word for name in TYPES for word in ("--instance-type", name)]
        if job.max_cost_usd is not None:
            options += ["--max-cost", str(job.max_cost_usd)]
        return options + (["--detach"] if job.detach else []) + (["--wait"] if job.waits else [])

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A launcher that holds still where it is to be killed, however late that is seen."""
        self.note(f"gpurun {' '.join(arguments)}")
        moments = [(at.event, dict(at.wanted), self._lag_s) for at in self._kills_to_come()]
        held = (sys.executable, "-P", "-W", "default", str(HELD), json.dumps(moments))
        return self.laptop.start(*arguments, command=held, LOGNAME=f"chaos-{self.schedule.seed}")

    def _goes_on(self) -> bool:
        """The launcher has ended: resume the run where somebody would."""
        self.see()
        code, killed, self._killed = self._launcher.returncode, self._killed, False
        run = self.book.run()
        self.note(f"launcher ended with {code}; the run is {run.get('status', 'not there')}")
        if run.get("status") in FINAL or not run:
            return False
        if self.schedule.after is not After.RESUME and (killed or code == 0) and not self._kills_to_come():
            return False
        if self.played.resumed == RESUMES:
            self.played.problems.append(f"resumed {RESUMES} times without an end")
            return False
        if not killed:
            self._heal_all()
            time.sleep(AWAY_S)  # nobody looks: what happens meanwhile is part of the schedule
        self.played.resumed += 1
        self._launcher = self._start("resume", run["run_id"], *PATIENCE)
        return True

    def _kills_to_come(self) -> list[Moment]:
        return [fault.at for fault in self._pending if fault.kind is Kind.KILL]

    def see(self) -> None:
        """Take in what is new in the ledger, and what each checkpoint that is reported as saved holds."""
        for told in self.book.new_events():
            self.events.append(told)
            self.note(f"{told.kind} {json.dumps(told.data)[:150]}")
            if told.kind == "checkpoint.saved":
                self._look_at(told)

    def _look_at(self, told: Told) -> None:
        number = told.data["generation"]
        path = self.laptop.state.runs / told.run_id / "shipments" / f"{number:08d}" / "checkpoint" / "state.bin"
        with suppress(FileNotFoundError):  # the next but one has been published already
            self.saved_steps[number] = step_of(path, self.right)

    def left(self) -> list[Thing]:
        """What there is in the region that was not there before this trial, whoever made it."""
        return self.cloud.leftovers(self.region, self.before)

    def note(self, text: str) -> None:
        """Write down what is done or seen."""
        self.log.append(f"{time.monotonic() - self._began:7.2f}  {text}")

    # Faults.

    def _strike_what_is_due(self) -> None:
        for fault in list(self._pending):
            if self._is_due(fault.at) and self._strike(fault):
                self._pending.remove(fault)
                self.note(f"*** {fault}")
                if fault.kind not in MET_LATER:
                    self.played.struck.append(fault.kind.value)

    def _is_due(self, moment: Moment) -> bool:
        if id(moment) not in self._reached and self._has_come(moment):
            self._reached[id(moment)] = time.monotonic()
        return id(moment) in self._reached and time.monotonic() >= self._reached[id(moment)] + moment.after_s

    def _has_come(self, moment: Moment) -> bool:
        if moment.step:
            logs = list(self.laptop.state.runs.glob("*/log"))
            return bool(logs) and f"step {moment.step} ".encode() in logs[0].read_bytes()
        if not moment.event:
            return True
        wanted = dict(moment.wanted).items()
        return any(told.kind == moment.event and wanted <= told.data.items() for told in self.events)

    def _strike(self, fault: Fault) -> bool:
        """Do it; whether it could be done now."""
        if fault.kind is Kind.KILL:
            return self._kill()
        if fault.kind in RULES:
            self._cure_later(fault, self._admin.fault(self._rule(fault))["id"])
        elif fault.kind in KNOBS:
            self._admin.settings(**{KNOBS[fault.kind]: fault.in_s})
            self._cure_later(fault, len(self._machines()))
        elif fault.kind is Kind.ADDRESS:
            self._admin.move(f"198.51.100.{1 + self.schedule.seed % 250}")
        elif fault.kind is Kind.FULL_HOME:
            return self._fill_home(fault)
        else:
            return self._strike_machine(fault)
        return True

    def _kill(self) -> bool:
        if self._launcher is None or self._launcher.poll() is not None:
            return False
        self._launcher.kill()
        self._launcher.wait()
        self._killed = True
        return True

    def _strike_machine(self, fault: Fault) -> bool:
        machines = self._machines()
        if not machines:
            return False
        acts = {
            Kind.END: lambda it: self._admin.interrupt(it, in_s=0.0),
            Kind.NOTICE: lambda it: self._admin.interrupt(it, in_s=fault.in_s),
            Kind.DEATH: self._admin.kill,
            Kind.REBALANCE: self._admin.rebalance,
            Kind.PARTITION: self._admin.partition,
            Kind.CUT_OFF: self._admin.partition,
            Kind.FULL_HOST: self._admin.fill,
        }
        try:
            acts[fault.kind](machines[-1])
        except GpurunError as error:
            self.note(f"    {fault.kind.value}: {error.message}")
            return False
        if fault.kind in {Kind.PARTITION, Kind.FULL_HOST}:
            self._cure_later(fault, machines[-1])
        return True

    def _machines(self) -> list[str]:
        return [told.data["id"] for told in self.events if told.kind == "instance"]

    def _rule(self, fault: Fault) -> dict[str, Any]:
        action, effect = RULES[fault.kind]
        return {
            "match": {"region": self.region, "action": fault.action or action},
            "effect": effect,
            "times": fault.times or -1,
            **(self._storm() if fault.kind is Kind.STORM else {}),
        }

    def _storm(self) -> dict[str, Any]:
        match = {"region": self.region, "service": "ec2", "action": ".*"}
        return {"match": match, "probability": STORM_SHARE, "seed": self.schedule.seed}

    def _fill_home(self, fault: Fault) -> bool:
        """Leave no byte on the laptop's disk; where this system lets nobody mount one, nothing is done."""
        if os.geteuid() != 0:
            return False
        ballast = self.laptop.home / "ballast"
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        self._cure_later(fault, ballast)
        return True

    def _cure_later(self, fault: Fault, what: Any) -> None:
        until = time.monotonic() + fault.lasts_s if fault.lasts_s else float("inf")
        self._cures.append((until, fault, what))

    def _heal_what_is_due(self) -> None:
        for cure in [each for each in self._cures if each[0] <= time.monotonic()]:
            self._heal(cure)

    def _heal_all(self, *, storms: bool = False) -> None:
        """All that can be healed; a storm lasts as long as the schedule."""
        for cure in list(self._cures):
            if storms or cure[1].kind is not Kind.STORM:
                self._heal(cure)

    def _heal(self, cure: tuple[float, Fault, Any]) -> None:
        _, fault, what = cure
        self._cures.remove(cure)
        self.note(f"    over: {fault.kind.value}")
        if fault.kind in MET_LATER:
            met = self.played.struck if self._has_met(fault, what) else self.played.missed
            met.append(fault.kind.value)
        with suppress(GpurunError):  # the machine is gone, or the rule is used up
            if fault.kind in RULES:
                self._admin.lift_fault(what)
            elif fault.kind in KNOBS:
                self._admin.settings(**{KNOBS[fault.kind]: 0.0})
            elif fault.kind is Kind.FULL_HOST:
                self._admin.empty(what)
            elif fault.kind is Kind.PARTITION:
                self._admin.partition(what, cut=False)
            elif fault.kind is Kind.FULL_HOME:
                what.unlink(missing_ok=True)

    def _has_met(self, fault: Fault, what: Any) -> bool:
        """Whether a rule has met a call, a knob a machine that was made meanwhile."""
        if fault.kind in KNOBS:
            self.see()
            return len(self._machines()) > what
        return any(rule["hits"] for rule in self._admin.faults() if rule["id"] == what)

    # The end.

    def _come_to_the_end(self) -> None:
        """A run that nobody attends any more is left to its deadline, or to `gc`; then its owner looks again."""
        self.see()
        run = self.book.run()
        if not run or run["status"] in FINAL or self.played.problems:
            return
        if self.schedule.after is After.DEADLINE:
            self._outwait(run)
            self._collect(self.laptop)
        else:
            self._collect_from_elsewhere()
        if self.bucket is not None:
            self.sent = self.bucket.sent(run["run_id"], self.right)
        left = self.left()
        self.played.leftovers += len(left)
        self.played.problems.extend(f"gc left {kind} {what}" for kind, what in left)
        self._command("down", run["run_id"], "--yes") if self.schedule.after is After.GC else self._command(
            "resume", run["run_id"]
        )
        self.see()

    def _fetch_sent(self) -> None:
        """Bring home once more what lies in the bucket, to a folder of its own."""
        run = self.book.run()
        if run and self.bucket is not None and self.bucket.sent(run["run_id"], self.right):
            self._command("fetch-weights", run["run_id"], "--to", str(self.fetched))

    @property
    def fetched(self) -> Path:
        """Where what was in the bucket is put."""
        return self.laptop.work / "fetched"

    def _outwait(self, run: dict[str, Any]) -> None:
        """Until the deadline and its margin: by then nothing may be billed."""
        deadline = datetime.fromisoformat(run["deadline_at"]).timestamp() + MARGIN_S
        while any(kind == "instance" for kind, _ in self.left()) and time.time() < deadline:
            time.sleep(0.5)
        billed = verdict.billed(self.left())
        self.played.leftovers += len(billed)
        self.played.problems.extend(f"{MARGIN_S:.0f} s after the deadline: {kind} {what}" for kind, what in billed)
        # Whoever looks again does so after the deadline.
        time.sleep(max(0.0, deadline - MARGIN_S - time.time()))

    def _collect_from_elsewhere(self) -> None:
        """`gc` by the same person on a laptop that knows nothing."""
        other = Laptop(home=self.laptop.home / "other", cloud=self.laptop.cloud)
        other.work.mkdir(parents=True)
        other.state.home.mkdir(parents=True, mode=0o700)
        other.state.sandbox.symlink_to(self.laptop.cloud.state)
        time.sleep(AWAY_S)  # a launch that was under way when the launcher died shows by then
        self._await_sent()
        self._collect(other)

    def _await_sent(self) -> None:
        """Let a machine that sends by itself get something there, so that something can be lost; none may do so."""
        limit = time.monotonic() + SENT_WITHIN_S
        run_id = self.book.run()["run_id"]
        while self.bucket is not None and time.monotonic() < limit:
            if any(each.step for each in self.bucket.sent(run_id, self.right)):
                return
            time.sleep(0.5)

    def _collect(self, laptop: Laptop) -> None:
        """`gc`, again where it says that it could not look everywhere or remove everything, as a person would."""
        for _ in range(COLLECTIONS):
            if self._run(laptop, "gc", "--sandbox", "--yes") == 0:
                return

    def _command(self, *arguments: str) -> None:
        self._run(self.laptop, *arguments)

    def _run(self, laptop: Laptop, *arguments: str) -> int:
        self.note(f"gpurun {' '.join(arguments)}")
        done = laptop.gpurun(*arguments, timeout_s=PATIENCE_S, LOGNAME=f"chaos-{self.schedule.seed}")
        with (self.laptop.home / "stderr").open("a") as file:
            file.write(f"--- {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.returncode

    def _tidy(self) -> None:
        """Nothing of this trial goes on, whatever came of it."""
        self.played.missed += [fault.kind.value for fault in self._pending]
        calls = [each for each in self._admin.journal() if each["region"] == self.region]
        self.played.api_calls = sum(each["access_key"] != KEY and each["action"] != "PostObject" for each in calls)
        for process in self.laptop.started:
            if process.poll() is None:
                process.kill()
            process.wait()
        self.cloud.end(self.region, self.before)
        if self.bucket is not None:
            self.bucket.remove()


RULES: dict[Kind, tuple[str, dict[str, Any]]] = {
    Kind.LOST_REPLY: ("", {"drop": "after"}),
    Kind.THROTTLING: (".*", {"error": "RequestLimitExceeded"}),
    Kind.STORM: (".*", {"error": "throttling"}),
    Kind.NO_CAPACITY: ("CreateFleet|RunInstances", {"error": "InsufficientInstanceCapacity"}),
    Kind.FORBIDDEN: ("CreateFleet|RunInstances", {"error": "UnauthorizedOperation"}),
    Kind.EXPIRED: (".*", {"error": "expired-credentials"}),
    Kind.NO_SWITCH: ("CreateSchedule", {"error": "AccessDeniedException"}),
}
"""Faults of the API: which calls they strike where the fault does not say so, and how."""
KNOBS: dict[Kind, str] = {Kind.SLOW_BOOT: "boot_delay_s", Kind.SKEW: "clock_ahead_s"}
"""What is set for machines that are made meanwhile."""
MET_LATER = frozenset({*RULES, *KNOBS})
"""What strikes nothing by itself: whether it met something shows when it is over."""
