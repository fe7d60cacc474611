"""One SQLite file for jobs and keys: it survives a kill, and what is deleted is overwritten."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    status TEXT NOT NULL,
    created REAL NOT NULL,
    deadline REAL NOT NULL,
    started REAL,
    finished REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    shape TEXT,
    asked TEXT NOT NULL,
    pictures TEXT NOT NULL,
    result TEXT,
    error TEXT
);
CREATE INDEX IF NOT EXISTS jobs_of_owner ON jobs (owner, created);
CREATE INDEX IF NOT EXISTS jobs_of_status ON jobs (status, created);
CREATE TABLE IF NOT EXISTS keys (
    name TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    created REAL NOT NULL
);
"""


class Database:
    """The connection of one process; any thread may use it, one at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=30
        )
        self._connection.row_factory = sqlite3.Row
        path.chmod(0o600)
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "secure_delete=ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.executescript(TABLES)

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """What the query finds."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def change(self, statement: str, values: Sequence[Any] = ()) -> int:
        """How many rows the statement changed; it is written when this returns."""
        with self._lock:
            return self._connection.execute(statement, values).rowcount

    def forget(self) -> None:
        """Empty the write-ahead log, where what was deleted may still be read."""
        with self._lock:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()
