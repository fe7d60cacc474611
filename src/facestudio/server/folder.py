"""The server's folder on disk: one server at a time, its keys, and what belongs to each."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from facestudio.errors import BadOption
from facestudio.server.database import Database
from facestudio.server.jobs import JobStore
from facestudio.server.keys import KeyStore
from facestudio.server.people import People
from facestudio.server.settings import ServerSettings

DATABASE = "server.sqlite"
JOBS = "jobs"
PEOPLE = "identities"


def check_keys(settings: ServerSettings) -> None:
    """Raise BadOption where keys are needed and there is none."""
    with opening(settings) as database:
        if settings.needs_key and not KeyStore(database).list():
            hint = "make one with: facestudio serve add-key NAME"
            raise BadOption(f"{settings.host} needs an API key, and there is none", hint=hint)


def remove_key(settings: ServerSettings, name: str) -> None:
    """Remove the key and all jobs and people that belong to it. Raises BadOption."""
    with opening(settings) as database:
        KeyStore(database).remove(name)
        store = JobStore(database, settings.folder / JOBS)
        for job_id in store.owned_by(name):
            store.delete(job_id)
        People(settings.folder / PEOPLE).remove_all(name)


@contextmanager
def opening(settings: ServerSettings) -> Iterator[Database]:
    """The server's database, beside a running server or without one."""
    database = Database(settings.folder / DATABASE)
    try:
        yield database
    finally:
        database.close()


@contextmanager
def holding_folder(settings: ServerSettings) -> Iterator[None]:
    """Keep a second server off this folder. Raises BadOption if there is one."""
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (settings.folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            hint = "stop it first, or give this one a folder of its own with data=…"
            raise BadOption(f"a server uses {settings.folder} already", hint=hint) from None
        yield
