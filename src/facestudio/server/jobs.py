"""Jobs on disk: a row in SQLite, and a folder with what was sent and what was drawn.

What was sent is there only until the job ends. A folder without a row is left from a kill and
removed at the next start; so is a picture of a job that did not end.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from facestudio.errors import FaceStudioError, NotFound, ServerFault, Withheld
from facestudio.images import write_bytes
from facestudio.server.database import Database

Status = Literal["queued", "running", "done", "failed", "cancelled"]
UNFINISHED = ("queued", "running")
MAX_ATTEMPTS = 3


@dataclass(frozen=True)
class Job:
    """One accepted request. Times are seconds since 1970.

    shape: jobs of the same may be drawn together; None: alone. asked: the request's settings.
    pictures: the names of what was sent. result: `pictures` (seed, likeness and why it is
    withheld, of each) and `settings`. error: as `FaceStudioError.to_dict`.
    """

    owner: str
    deadline: float
    shape: str | None
    asked: dict[str, Any]
    pictures: tuple[str, ...] = ()
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    status: Status = "queued"
    created: float = field(default_factory=time.time)
    started: float | None = None
    finished: float | None = None
    attempts: int = 0
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None

    @property
    def is_finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status not in UNFINISHED

    @property
    def count(self) -> int:
        """How many pictures are to be drawn."""
        return int(self.asked.get("num_images_per_prompt", 1))


class JobStore:
    """All jobs of one server, in `folder`."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def add(self, job: Job, sent: Sequence[bytes]) -> None:
        """Keep a new job with the pictures that were sent; when this returns it survives a kill."""
        self._place(job.id).mkdir(mode=0o700)
        for number, data in enumerate(sent):
            write_bytes(self._sent(job.id, number), data)
        values = (
            job.id, job.owner, job.status, job.created, job.deadline, job.shape,
            json.dumps(job.asked), json.dumps(job.pictures),
        )  # fmt: skip
        columns = "id, owner, status, created, deadline, shape, asked, pictures"
        self._database.change(f"INSERT INTO jobs ({columns}) VALUES (?,?,?,?,?,?,?,?)", values)

    def get(self, job_id: str, owner: str) -> Job:
        """The owner's job. Raises NotFound, also for a job of another owner."""
        query = "SELECT * FROM jobs WHERE id = ? AND owner = ?"
        rows = self._database.rows(query, (job_id, owner))
        if not rows:
            raise NotFound("there is no such job", hint="it may have been deleted or kept too long")
        return _from_row(rows[0])

    def newest(self, owner: str, limit: int) -> list[Job]:
        """The owner's jobs, the newest first."""
        query = "SELECT * FROM jobs WHERE owner = ? ORDER BY created DESC LIMIT ?"
        return [_from_row(row) for row in self._database.rows(query, (owner, limit))]

    def read_sent(self, job: Job) -> dict[str, bytes]:
        """The pictures that were sent with an unfinished job, by their names."""
        files = {name: self._sent(job.id, n) for n, name in enumerate(job.pictures)}
        return {name: path.read_bytes() for name, path in files.items()}

    def picture(self, job: Job, number: int) -> Path:
        """The file of a finished job's picture. Raises NotFound, Withheld."""
        told = job.result["pictures"] if job.result else []
        if number < len(told) and (why := told[number].get("withheld")):
            raise Withheld(f"the picture is withheld: {why}")
        path = self.drawn(job.id, number)
        if job.status != "done" or not path.is_file():
            raise NotFound(f"the job has no picture {number}")
        return path

    def drawn(self, job_id: str, number: int) -> Path:
        """Where a picture that was drawn belongs."""
        return self._place(job_id) / f"{number}.png"

    def start(self, job_id: str) -> None:
        """Note that drawing begins."""
        change = "UPDATE jobs SET status = 'running', started = ?, attempts = attempts + 1"
        self._database.change(f"{change} WHERE id = ?", (time.time(), job_id))

    def put_back(self, job_id: str) -> None:
        """Note that a job that was begun waits again, as if it had never been begun."""
        change = "UPDATE jobs SET status = 'queued', attempts = attempts - 1"
        self._database.change(f"{change} WHERE id = ? AND status = 'running'", (job_id,))

    def finish(self, job_id: str, result: Mapping[str, Any]) -> bool:
        """Note the result, once all pictures are written; False if the job is ended or gone."""
        return self._end(job_id, "done", result=json.dumps(result))

    def fail(self, job_id: str, error: FaceStudioError, status: Status = "failed") -> bool:
        """Note why there is no result; False if the job is ended or gone."""
        return self._end(job_id, status, error=json.dumps(error.to_dict()))

    def delete(self, job_id: str) -> None:
        """Remove the job; nothing of it is left on disk."""
        self._database.change("DELETE FROM jobs WHERE id = ?", (job_id,))
        shutil.rmtree(self._place(job_id), ignore_errors=True)
        self._database.forget()

    def recover(self) -> list[Job]:
        """After a stop or a kill: the jobs that still wait, the oldest first.

        Those that were begun wait again, or have failed if it was their last attempt.
        """
        self._remove_leftovers()
        for row in self._database.rows("SELECT id, attempts FROM jobs WHERE status = 'running'"):
            if row["attempts"] >= MAX_ATTEMPTS:
                times = f"the server broke off {row['attempts']} times while drawing this"
                self.fail(row["id"], ServerFault(times, hint="ask again for something smaller"))
        self._database.change("UPDATE jobs SET status = 'queued' WHERE status = 'running'")
        query = "SELECT * FROM jobs WHERE status = 'queued' ORDER BY created"
        return [_from_row(row) for row in self._database.rows(query)]

    def owned_by(self, owner: str) -> list[str]:
        """The ids of all jobs of an owner."""
        rows = self._database.rows("SELECT id FROM jobs WHERE owner = ?", (owner,))
        return [row["id"] for row in rows]

    def finished_before(self, moment: float) -> list[str]:
        """The ids of jobs that ended before this time."""
        rows = self._database.rows("SELECT id FROM jobs WHERE finished < ?", (moment,))
        return [row["id"] for row in rows]

    def _end(
        self, job_id: str, status: Status, result: str | None = None, error: str | None = None
    ) -> bool:
        change = "UPDATE jobs SET status = ?, finished = ?, result = ?, error = ?"
        values = (status, time.time(), result, error, job_id)
        where = "WHERE id = ? AND status IN ('queued', 'running')"
        ended = self._database.change(f"{change} {where}", values) > 0
        self._remove_files(job_id, "sent-*")
        if status != "done":
            self._remove_files(job_id, "*.png")
        return ended

    def _remove_leftovers(self) -> None:
        rows = self._database.rows("SELECT id, status FROM jobs")
        status = {row["id"]: row["status"] for row in rows}
        for place in self._folder.iterdir():
            if place.name not in status:
                shutil.rmtree(place, ignore_errors=True)
                continue
            self._remove_files(place.name, ".*.tmp")
            if status[place.name] in UNFINISHED:
                self._remove_files(place.name, "*.png")
            else:
                self._remove_files(place.name, "sent-*")

    def _remove_files(self, job_id: str, pattern: str) -> None:
        for path in self._place(job_id).glob(pattern):
            path.unlink(missing_ok=True)

    def _place(self, job_id: str) -> Path:
        return self._folder / job_id

    def _sent(self, job_id: str, number: int) -> Path:
        return self._place(job_id) / f"sent-{number}"


def _from_row(row: sqlite3.Row) -> Job:
    values = {key: row[key] for key in row.keys()}  # noqa: SIM118  a Row iterates over values
    for name in ("asked", "pictures", "result", "error"):
        values[name] = None if values[name] is None else json.loads(values[name])
    return Job(**values | {"pictures": tuple(values["pictures"])})
