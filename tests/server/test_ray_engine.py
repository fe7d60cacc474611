"""The same API over Ray Serve: a replica killed under load loses no accepted job."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from facestudio.server.app import make_app
from facestudio.server.settings import ServerSettings
from tests.server.conftest import HERE, ask, fail, wait_until

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

REPLICA = b"ServeReplica:facestudio"
JOBS = 12
REPLICAS, AT_ONCE, STEPS = 2, 2, 100
PATIENCE_S = 900.0


@pytest.fixture
def caller(pipe, tmp_path, monkeypatch):
    """A caller of a server with two replicas on a cluster of this machine."""
    pytest.importorskip("ray.serve", reason="needs facestudio[ray]: make test-ray")
    from facestudio.server.ray_engine import RayEngine

    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "600")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else a busy machine starves them
    pipe.save_pretrained(tmp_path / "tiny")
    settings = ServerSettings(
        model=str(tmp_path / "tiny"),
        data=tmp_path / "server",
        engine="ray",
        replicas=REPLICAS,
        threads=1,
        max_batch=AT_ONCE,
        timeout_s=PATIENCE_S,
    )
    app = make_app(settings, RayEngine(settings), fail)
    with TestClient(app, base_url=HERE) as caller:
        wait_until(lambda: caller.get("/ready").status_code == 200, PATIENCE_S)
        yield caller


def replicas() -> list[int]:
    """The processes of the replicas that this process's cluster runs."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            title = (process / "cmdline").read_bytes()
            if title.startswith(b"ray::") and REPLICA in title and is_ours(process):
                found.append(int(process.name))
        except OSError:  # it ended while it was looked at
            continue
    return found


def is_ours(process: Path) -> bool:
    """Whether this process is an ancestor."""
    while process.name not in ("0", "1"):
        if int(process.name) == os.getpid():
            return True
        process = process.with_name((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
    return False


def test_a_replica_killed_under_load_loses_no_accepted_job(caller, caplog):
    asked = {"prompt": "a hat", "num_inference_steps": STEPS}
    jobs = [ask(caller, asked | {"seed": seed}).json() for seed in range(JOBS)]

    def states() -> list[dict]:
        return [caller.get(f"/v1/jobs/{job['id']}").json() for job in jobs]

    def in_the_middle() -> int:
        return sum(0 < state["progress"]["step"] < STEPS / 2 for state in states())

    wait_until(lambda: in_the_middle() == REPLICAS * AT_ONCE, PATIENCE_S)
    victim = replicas()[0]
    os.kill(victim, signal.SIGKILL)
    ended = ("done", "failed", "cancelled")
    wait_until(lambda: all(s["progress"]["status"] in ended for s in states()), PATIENCE_S)
    assert [state["error"] for state in states()] == [None] * JOBS
    assert [state["pictures"][0]["seed"] for state in states()] == list(range(JOBS))
    assert "an engine was lost" in caplog.text
    wait_until(lambda: victim not in replicas(), PATIENCE_S)
