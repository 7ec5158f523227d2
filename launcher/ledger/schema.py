"""The ledger's tables, as the steps that lead from an empty file to the present version.

A step is never edited once released: a new one is added. `PRAGMA user_version` counts those a file has seen.
"""

from __future__ import annotations

_RUNS_EVENTS_RESOURCES = """
CREATE TABLE runs (
    run_id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    ended_at TEXT,
    deadline_at TEXT,
    account TEXT NOT NULL,
    region TEXT NOT NULL,
    spec TEXT NOT NULL,
    plan TEXT,
    results_dir TEXT NOT NULL,
    token TEXT NOT NULL,
    instance_id TEXT,
    instance_type TEXT,
    zone TEXT,
    market TEXT,
    price_usd_per_hour REAL,
    address TEXT,
    exit_status INTEGER,
    reason TEXT NOT NULL,
    launcher_pid INTEGER,
    launcher_started TEXT,
    detached INTEGER NOT NULL,
    host_key_line TEXT,
    receipt TEXT
) STRICT;
CREATE INDEX runs_by_age ON runs (created_at);
CREATE INDEX runs_by_name ON runs (name, created_at);
CREATE TABLE events (
    event_id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_run ON events (run_id, event_id);
CREATE TABLE resources (
    resource_id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    token TEXT NOT NULL,
    region TEXT NOT NULL,
    aws_id TEXT,
    intended_at TEXT NOT NULL,
    confirmed_at TEXT,
    released_at TEXT,
    UNIQUE (run_id, kind, token, region)
) STRICT;
"""

_OFFER_CACHE = """
CREATE TABLE offer_cache (
    key TEXT PRIMARY KEY,
    text TEXT NOT NULL,
    fetched_at TEXT NOT NULL
) STRICT;
"""

_SEGMENTS = """
ALTER TABLE runs ADD COLUMN segment INTEGER NOT NULL DEFAULT 1;
CREATE TABLE segments (
    run_id TEXT NOT NULL REFERENCES runs (run_id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    instance_id TEXT NOT NULL,
    instance_type TEXT NOT NULL,
    region TEXT NOT NULL,
    zone TEXT NOT NULL,
    market TEXT NOT NULL,
    price_usd_per_hour REAL NOT NULL,
    began_at TEXT NOT NULL,
    ended_at TEXT,
    ended_by TEXT NOT NULL,
    PRIMARY KEY (run_id, number)
) STRICT;
INSERT INTO segments
    SELECT run_id, 1, instance_id, coalesce(instance_type, ''), region, coalesce(zone, ''), coalesce(market, ''),
        coalesce(price_usd_per_hour, 0.0), created_at, ended_at, ''
    FROM runs WHERE instance_id IS NOT NULL;
"""

_PLACES = """
ALTER TABLE runs ADD COLUMN place TEXT NOT NULL DEFAULT 'aws';
"""

_COMPARISONS = """
CREATE TABLE comparisons (
    comparison_id TEXT PRIMARY KEY,
    created_at TEXT NOT NULL,
    title TEXT NOT NULL,
    request TEXT NOT NULL,
    run_ids TEXT NOT NULL,
    result TEXT
) STRICT;
"""

_SCHEDULES = """
CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    created_at TEXT NOT NULL,
    spec TEXT NOT NULL,
    folder TEXT NOT NULL,
    cron TEXT NOT NULL,
    zone TEXT NOT NULL,
    data TEXT NOT NULL,
    data_sha256 TEXT NOT NULL,
    data_seen TEXT NOT NULL,
    data_changing TEXT NOT NULL,
    data_looked_at TEXT NOT NULL,
    metric TEXT NOT NULL,
    better TEXT NOT NULL,
    min_gain TEXT NOT NULL,
    warm_start TEXT NOT NULL,
    missed TEXT NOT NULL,
    store TEXT NOT NULL,
    place TEXT NOT NULL,
    options TEXT NOT NULL,
    paused INTEGER NOT NULL,
    considered_at TEXT NOT NULL
) STRICT;
CREATE TABLE schedule_ticks (
    tick_id INTEGER PRIMARY KEY AUTOINCREMENT,
    schedule TEXT NOT NULL REFERENCES schedules (name) ON DELETE CASCADE,
    cause TEXT NOT NULL,
    due_at TEXT NOT NULL,
    taken_at TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    run_id TEXT,
    token TEXT NOT NULL,
    owner_pid INTEGER,
    owner_started TEXT,
    attempts INTEGER NOT NULL,
    retry_at TEXT NOT NULL,
    ended_at TEXT,
    version TEXT NOT NULL,
    UNIQUE (schedule, cause, due_at)
) STRICT;
CREATE INDEX ticks_by_status ON schedule_ticks (status, schedule);
"""

MIGRATIONS: tuple[str, ...] = (
    _RUNS_EVENTS_RESOURCES,
    _OFFER_CACHE,
    _SEGMENTS,
    _PLACES,
    _COMPARISONS,
    _SCHEDULES,
)
"""Step n, counted from 1, leads from version n - 1 to version n."""
