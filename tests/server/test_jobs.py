"""Jobs on disk: what a kill leaves, and what is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from facestudio.errors import BadOption, NotFound
from facestudio.server.database import Database
from facestudio.server.jobs import MAX_ATTEMPTS, Job, JobStore
from tests.server.conftest import ASKED, ask, finish, serving, wait_until


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "server.sqlite")
    yield database
    database.close()


@pytest.fixture
def store(database, tmp_path):
    return JobStore(database, tmp_path / "jobs")


def make_job(**changes) -> Job:
    given = {"owner": "anna", "deadline": time.time() + 60, "shape": "[32]", "asked": {"seed": 1}}
    return Job(**given | changes)


def add(store, **changes) -> Job:
    job = make_job(pictures=("a.png",), **changes)
    store.add(job, [b"sent"])
    return job


def test_a_job_is_read_as_it_was_added(store):
    job = add(store)
    assert store.get(job.id, "anna") == job
    assert store.read_sent(job) == {"a.png": b"sent"}
    with pytest.raises(NotFound):
        store.get(job.id, "ben")


def test_what_was_sent_is_kept_only_until_the_end(store, tmp_path):
    done, failed = add(store), add(store)
    for job in (done, failed):
        store.start(job.id)
        store.drawn(job.id, 0).write_bytes(b"png")
    assert store.finish(done.id, {"pictures": [], "settings": {}})
    assert store.fail(failed.id, BadOption("no"))
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert not any(name.startswith("sent") for name in files)
    assert store.picture(store.get(done.id, "anna"), 0).read_bytes() == b"png"
    assert not store.drawn(failed.id, 0).exists()


def test_a_job_ends_once(store):
    job = add(store)
    assert store.fail(job.id, BadOption("no"), "cancelled")
    assert not store.finish(job.id, {})
    assert not store.fail(job.id, BadOption("no"))
    assert store.get(job.id, "anna").status == "cancelled"


def test_after_a_kill_nothing_half_written_is_left(store, tmp_path):
    done, begun, waiting = add(store), add(store, created=2.0), add(store, created=1.0)
    store.drawn(done.id, 0).write_bytes(b"png")
    store.finish(done.id, {"pictures": [], "settings": {}})
    store.start(begun.id)
    store.drawn(begun.id, 0).write_bytes(b"half of the pictures")
    (tmp_path / "jobs" / "unknown").mkdir()
    (tmp_path / "jobs" / done.id / ".0123.tmp").write_bytes(b"half a picture")
    assert [job.id for job in store.recover()] == [waiting.id, begun.id]
    left = {path.relative_to(tmp_path / "jobs") for path in (tmp_path / "jobs").rglob("*.*")}
    assert {path.parent.name for path in left if path.suffix == ".png"} == {done.id}
    assert not (tmp_path / "jobs" / "unknown").exists()
    assert not list(tmp_path.rglob("*.tmp"))
    assert store.read_sent(begun) == {"a.png": b"sent"}


def test_what_breaks_the_server_each_time_fails_in_the_end(store):
    job = add(store)
    for _ in range(MAX_ATTEMPTS):
        assert [waiting.id for waiting in store.recover()] == [job.id]
        store.start(job.id)
    assert store.recover() == []
    assert store.get(job.id, "anna").error["code"] == "server_fault"


def test_stopping_in_good_order_costs_no_attempt(store):
    job = add(store)
    for _ in range(2 * MAX_ATTEMPTS):
        store.start(job.id)
        store.put_back(job.id)
    (waiting,) = store.recover()
    assert (waiting.id, waiting.attempts) == (job.id, 0)


def test_a_restarted_server_draws_what_was_left(painter, settings, photo):
    painter.held = True
    with serving(painter, settings) as caller:
        jobs = [ask(caller, ASKED | {"seed": n}, [("anna.png", photo)]).json() for n in range(3)]
        wait_until(lambda: len(painter.batches) == 1)
    painter.held = False
    with serving(painter, settings) as caller:
        for number, job in enumerate(jobs):
            assert finish(caller, job)["pictures"][0]["seed"] == number


def test_a_deadline_that_passed_in_between_is_told(painter, settings, photo):
    painter.held = True
    with serving(painter, settings) as caller:
        job = ask(caller, ASKED | {"timeout_s": 0.5}, [("anna.png", photo)]).json()
    time.sleep(0.5)
    with serving(painter, settings) as caller:
        assert finish(caller, job)["error"]["code"] == "deadline_passed"


def test_old_jobs_are_removed(painter, settings, database, tmp_path):
    from dataclasses import replace

    with serving(painter, settings) as caller:
        job = ask(caller, {"prompt": "a hat"}, wait=True).json()
    with serving(painter, replace(settings, keep_hours=1e-9)) as caller:
        wait_until(lambda: caller.get(f"/v1/jobs/{job['id']}").status_code == 404)
    assert not (settings.folder / "jobs" / job["id"]).exists()


KILLED = """
import os, sys, time
from pathlib import Path
from facestudio.server.database import Database
from facestudio.server.jobs import Job, JobStore

folder = Path(sys.argv[1])
store = JobStore(Database(folder / "server.sqlite"), folder / "jobs")
for number in range(5):
    job = Job(owner="anna", deadline=1.0, shape=None, asked={"seed": number}, pictures=("a",))
    store.add(job, [b"sent"])
    if number < 2:
        store.start(job.id)
    if number == 0:
        store.drawn(job.id, 0).write_bytes(b"png")
        store.finish(job.id, {"pictures": [], "settings": {}})
print("added", flush=True)
time.sleep(60)
"""


def test_what_was_added_survives_a_kill(tmp_path):
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert killed.stdout.readline() == "added\n"
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    killed.stdout.close()
    database = Database(tmp_path / "server.sqlite")
    store = JobStore(database, tmp_path / "jobs")
    assert [job.asked["seed"] for job in store.recover()] == [1, 2, 3, 4]
    assert sorted(job.status for job in store.newest("anna", 10)) == ["done"] + ["queued"] * 4
    database.close()
