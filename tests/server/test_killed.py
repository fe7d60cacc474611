"""A running `facestudio serve` is killed with work queued, and started again."""

from __future__ import annotations

import time

import numpy as np
import pytest
from PIL import Image

from benchmarks.server_process import Server
from facestudio import Client
from tests.server.conftest import make_picture, wait_until

JOBS = 4
PATIENCE_S = 300.0


@pytest.mark.slow
def test_a_killed_server_keeps_what_is_done_and_draws_the_rest(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "tiny")
    flags = [f"model={tmp_path / 'tiny'}", "max_batch=1", "threads=1"]
    first = Server(tmp_path / "home", flags)
    try:
        client = Client(first.address)
        done = client.submit(prompt="a hat", seed=0)
        kept = done.result().images[0]
        slow = {"prompt": "a hat", "style": make_picture(3), "num_inference_steps": 60}
        jobs = [client.submit(seed=seed, **slow) for seed in range(JOBS)]
        wait_until(lambda: client.job(jobs[0].id).facts["progress"]["step"] > 0, PATIENCE_S)
    finally:
        first.kill()
    folder = tmp_path / "home" / "server" / "jobs"
    assert list(folder.glob("*/sent-*"))
    (folder / jobs[1].id / "0.png").write_bytes(b"half")
    (folder / done.id / ".0123.tmp").write_bytes(b"half")
    second = Server(tmp_path / "home", flags)
    try:
        client = Client(second.address)
        again = client.job(done.id).result().images[0]
        np.testing.assert_array_equal(np.asarray(again), np.asarray(kept))
        ended = [wait_for(client, job.id) for job in jobs]
        assert [facts["error"] for facts in ended] == [None] * JOBS
        assert [facts["pictures"][0]["seed"] for facts in ended] == list(range(JOBS))
    finally:
        second.stop()
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    assert [path.name for path in files] == ["0.png"] * (JOBS + 1)
    for path in files:
        Image.open(path).load()


def wait_for(client: Client, job_id: str) -> dict:
    """The facts of a job that has ended."""
    end = time.monotonic() + PATIENCE_S
    while (facts := client.job(job_id).facts)["progress"]["status"] in ("queued", "running"):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)
    return facts
