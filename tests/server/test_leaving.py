"""A caller who waits and hangs up: over a real connection, since a test client cannot."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.client import HTTPConnection

import pytest
import uvicorn

from facestudio import Client
from facestudio.server.app import make_app
from facestudio.server.engine import LocalEngine
from tests.server.conftest import fail, wait_until


@pytest.fixture
def port(painter, settings) -> Iterator[int]:
    """Where a server listens whose queue has room for one job."""
    app = make_app(replace(settings, max_queue=1), LocalEngine(lambda: painter), fail)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    yield server.servers[0].sockets[0].getsockname()[1]
    painter.held = False
    server.should_exit = True
    thread.join()


@pytest.fixture
def client(port) -> Client:
    client = Client(f"http://127.0.0.1:{port}")
    wait_until(lambda: client.call("GET", "/health")["status"] == "ok" and client.models())
    return client


def wait_for_a_picture(port: int, seed: int) -> HTTPConnection:
    """A connection on which someone waits for their picture."""
    connection = HTTPConnection("127.0.0.1", port)
    body = json.dumps({"prompt": "a hat", "seed": seed})
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/v1/generate?wait=true", body, headers)
    return connection


def test_who_leaves_frees_the_place(port, client, painter):
    """In the queue as well as at the model: the jobs of those who left end, the next is drawn."""
    painter.held = True
    drawn = wait_for_a_picture(port, 1)
    wait_until(lambda: len(painter.batches) == 1)
    queued = wait_for_a_picture(port, 2)
    wait_until(lambda: len(client.jobs()) == 2)
    queued.close()
    wait_until(lambda: [job.status for job in client.jobs()] == ["cancelled", "running"])
    drawn.close()
    wait_until(lambda: [job.status for job in client.jobs()] == ["cancelled"] * 2)
    stays = client.submit(prompt="a hat", seed=3)
    painter.held = False
    assert stays.result().seeds == [3]
    assert len(painter.batches) == 2
