"""A schedule of a job that trains a number, on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.places.conftest import Desk

TRAIN = """
import hashlib, json, os, pathlib, sys, time
import numpy

def judged(path):
    return {"test_error": float(numpy.load(path)["a"][0]), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

out, work = pathlib.Path(os.environ["GPURUN_OUTPUT_DIR"]), pathlib.Path(sys.argv[1])
champion = os.environ.get("GPURUN_CHAMPION_DIR")
numpy.savez(out / "w.npz", a=numpy.array([float(work.joinpath("error").read_text()), 0.0]))
evaluation = {"challenger": judged(out / "w.npz"), "champion": None, "rows_sha256": "the same"}
if champion:
    evaluation["champion"] = judged(pathlib.Path(champion, "w.npz"))
    assert json.loads(pathlib.Path(champion, "version.json").read_text())["name"] == "tiny"
(out / "evaluation.json").write_text(json.dumps(evaluation))
(out / "begun.json").write_text(json.dumps(os.environ.get("GPURUN_WARM_START")))
print("trained", flush=True)
while work.joinpath("gate").exists():
    time.sleep(0.05)
sys.exit(work.joinpath("fails").exists())
"""


class Weekly:
    """A schedule whose next run's error is what a test says."""

    def __init__(self, desk: Desk, *options: str) -> None:
        self.desk = desk
        code = desk.work / "code"
        code.mkdir()
        (code / "train.py").write_text(TRAIN)
        desk.job(f"name: tiny\nworkdir: code\nrun: {sys.executable} train.py {desk.work}\n", "job.yaml")
        asked = ("--cron", "0 3 * * 1", "--on", "local", *options)
        done = desk.gpurun("schedule", "add", "weekly", "job.yaml", *asked)
        assert done.returncode == 0, done.stderr

    def run(self, error: float) -> dict:
        """Train to that error; gives the tick."""
        (self.desk.work / "error").write_text(str(error))
        done = self.desk.gpurun("schedule", "run-now", "weekly", "--wait", "--json")
        return json.loads(done.stdout)

    def weights(self, *arguments: str) -> dict:
        done = self.desk.gpurun("weights", *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def stages(self) -> list[str]:
        return [each["stage"] for each in self.weights("list", "tiny")["versions"]]

    def results(self, tick: dict) -> Path:
        return self.desk.work / "runs" / tick["run_id"]
