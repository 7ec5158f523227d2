"""Files there and back: by the agent, or by SFTP where the machine has no python3 for it."""

from __future__ import annotations

from pathlib import Path

from launcher.domain import Manifest
from launcher.errors import NoPython
from launcher.ports import Lines
from launcher.sync.down import download
from launcher.sync.local.memory import Memory
from launcher.sync.local.tree import Scan
from launcher.sync.sftp import download as sftp_download
from launcher.sync.sftp import upload as sftp_upload
from launcher.sync.telling import Note, Report
from launcher.sync.up import upload

FALLBACK = (
    "the machine has no python3: files go by SFTP, without compression, deltas and parallel lines; "
    "a job cannot run there"
)


def push(
    lines: Lines, scan: Scan, remote_dir: str, report: Report, label: str, *, memory: Memory | None = None, warn: Note
) -> upload.Transferred:
    """As `upload.push`; `warn` is told once where SFTP must do, and of what it cannot verify."""
    try:
        return upload.push(lines, scan, remote_dir, report, label, memory=memory)
    except NoPython:
        warn(FALLBACK)
        return sftp_upload.push(lines, scan, remote_dir, report, label, note=warn)


def pull(lines: Lines, remote_dir: str, dest: Path, report: Report, label: str, *, warn: Note) -> Manifest:
    """As `download.pull`; `warn` is told once where SFTP must do, and of what was left out."""
    try:
        return download.pull(lines, remote_dir, dest, report, label, note=warn)
    except NoPython:
        warn(FALLBACK)
        return sftp_download.pull(lines, remote_dir, dest, report, label, note=warn)
