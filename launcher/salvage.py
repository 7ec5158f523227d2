"""What is left of a run whose results never came: its last checkpoint, put where they would be."""

from __future__ import annotations

import shutil
from pathlib import Path

from launcher import outputs
from launcher.live import LiveRun
from launcher.paths import CHECKPOINT_NAME, LOG_NAME, OWN_FOLDER
from launcher.sync.down.partials import forget


def leave_last_checkpoint(live: LiveRun) -> bool:
    """Put what came home while the job ran where its results would be, as they never came; whether there was any."""
    if live.has_event("fetched"):
        return False
    newest = outputs.catch_up(live)
    results = Path(live.record.results_dir)
    own = results / OWN_FOLDER
    for folder in (results, own / CHECKPOINT_NAME):
        forget(folder)  # a launcher that was killed while results came home has left them there
    if newest is None:
        return False
    try:
        shutil.copytree(newest.output, results, symlinks=True, dirs_exist_ok=True)
        shutil.copytree(newest.checkpoint, own / CHECKPOINT_NAME, symlinks=True, dirs_exist_ok=True)
        if live.paths.log.exists():
            shutil.copyfile(live.paths.log, own / LOG_NAME)
    except OSError as error:
        live.reporter.warn(f"the last checkpoint stays in {newest.folder}: {error}")
        return False
    live.event("salvaged", generation=newest.number, files=newest.files, size_bytes=newest.size_bytes, own=own.name)
    return True
