"""A schedule on the sandbox cloud: by hand and by the clock, with nothing left running."""

import json
import sqlite3
import sys
from contextlib import closing

TRAIN = """
import os, struct, zlib, zipfile
header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }".ljust(117) + "\\n"
array = b"\\x93NUMPY\\x01\\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack("<d", os.getpid())
with zipfile.ZipFile(os.environ["GPURUN_OUTPUT_DIR"] + "/w.npz", "w") as file:
    file.writestr("a.npy", array)
"""


def test_a_schedule_trains_by_hand_and_by_the_clock(laptop):
    laptop.job(TRAIN, "train.py")
    laptop.job(f"name: tiny\nrun: {sys.executable} train.py\ndevice: cpu\n", "job.yaml")
    done = laptop.gpurun("schedule", "add", "weekly", "job.yaml", "--cron", "0 3 * * 1", "--sandbox")
    assert done.returncode == 0, done.stderr
    done = laptop.gpurun("schedule", "run-now", "weekly", "--wait")
    assert done.returncode == 0, [done.stderr, *(log.read_text() for log in laptop.state.schedules.glob("weekly/*"))]
    assert laptop.gpurun("schedule", "run-due", "--wait", "--json").stdout == ""
    with closing(sqlite3.connect(laptop.state.ledger, timeout=20)) as book, book:
        book.execute("UPDATE schedules SET considered_at = '2026-01-01T00:00:00.000000+00:00'")
    done = laptop.gpurun("schedule", "run-due", "--wait", "--json")
    assert done.returncode == 0, done.stderr
    ticks = json.loads(laptop.gpurun("schedule", "history", "weekly", "--json").stdout)
    assert [(tick["cause"], tick["status"], tick["version"]) for tick in ticks] == [
        ("cron", "succeeded", "tiny@2"),
        ("now", "succeeded", "tiny@1"),
    ]
    assert {run["run_id"] for run in laptop.runs()} == {tick["run_id"] for tick in ticks}
    assert laptop.living() == []
