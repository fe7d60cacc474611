"""The client against a real server on loopback, with the tiny pipeline."""

from __future__ import annotations

import socket
import threading

import numpy as np
import pytest
import uvicorn

from facestudio import Client
from facestudio.errors import (
    BadOption,
    Busy,
    Cancelled,
    MissingFile,
    NoFace,
    NotAllowed,
    NotFound,
    NotReady,
    ServerFault,
    Unreachable,
    Withheld,
)
from facestudio.server.app import make_app
from facestudio.server.engine import LocalEngine
from facestudio.server.settings import ServerSettings
from tests.server.conftest import (
    GivenChecker,
    HeldPainter,
    at_home,
    encoder,
    fail,
    make_picture,
    pipe,
    seeing,
    wait_until,
)

__all__ = ["at_home", "encoder", "pipe", "seeing"]


@pytest.fixture
def painter(pipe):
    return HeldPainter(pipe)


@pytest.fixture
def address(painter, tmp_path):
    """Where a server listens."""
    settings = ServerSettings(data=tmp_path / "server", max_queue=1, max_side_px=64)
    app = make_app(settings, LocalEngine(lambda: painter), fail)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=1))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        wait_until(lambda: is_ready(address))
        yield address
        server.should_exit = True
        thread.join()


def is_ready(address: str) -> bool:
    try:
        return Client(address).call("GET", "/ready") == {"status": "ok"}
    except (Unreachable, NotReady, ServerFault):
        return False


@pytest.fixture
def client(address):
    return Client(address)


@pytest.fixture
def photo():
    return make_picture(1, 240, 240)


def test_generate_is_the_pipelines_call(client, pipe, photo):
    heard = []
    made = client.generate(
        photo, prompt="a hat", seed=1, num_images_per_prompt=2, on_progress=heard.append
    )
    alone = pipe(photo, prompt="a hat", seed=1, num_images_per_prompt=2)
    assert (made.seeds, len(made.likeness)) == (alone.seeds, 2)
    for ours, theirs in zip(made.images, alone.images, strict=True):
        assert np.abs(np.asarray(ours, int) - np.asarray(theirs, int)).max() <= 1
    assert made.settings["prompt"] == "a hat"
    assert heard[-1]["progress"]["status"] == "done"


def test_saved_people_mixes_and_several_people(client, photo):
    assert client.add_identity("anna", photo)["photos"] == 1
    assert [person["name"] for person in client.identities()] == ["anna"]
    couple = [["@anna", photo], [(0, 0, 0.5, 1), (0.5, 0, 1, 1)]]
    assert client.generate("@anna", style=photo).images
    assert client.generate(couple[0], prompt="a hat", regions=couple[1]).images
    client.remove_identity("@anna")
    with pytest.raises(NotFound):
        client.remove_identity("anna")


def test_mixing_a_photo_and_a_saved_person(client, photo, tmp_path):
    photo.save(tmp_path / 'a "strange" näme.png')
    client.add_identity("anna", photo)
    mixed = client.submit({"@anna": 0.7, tmp_path / 'a "strange" näme.png': 0.3}, prompt="a hat")
    assert mixed.result().seeds
    assert sorted(mixed.facts["asked"]["identity"]["mix"].values()) == [0.3, 0.7]


def test_faces_and_models(client, photo):
    (face,) = client.faces(photo)
    assert face["usable"]
    assert client.models()[0]["name"] == "tiny"


def test_errors_are_the_pipelines(client, pipe, photo, seeing):
    with pytest.raises(BadOption, match="alpha"):
        client.generate(photo, prompt="a hat", alpha=2)
    with pytest.raises(MissingFile):
        client.generate("nowhere.png", prompt="a hat")
    pipe.detector = seeing()
    with pytest.raises(NoFace):
        client.generate(photo, prompt="a hat")


def test_a_job_can_be_cancelled_found_again_and_deleted(client, painter):
    painter.held = True
    job = client.submit(prompt="a hat")
    job.cancel()
    painter.held = False
    again = client.job(job.id)
    assert again.status == "cancelled"
    with pytest.raises(Cancelled):
        again.result()
    assert [one.id for one in client.jobs()] == [job.id]
    again.delete()
    with pytest.raises(NotFound):
        client.job(job.id)


def test_a_full_queue_is_asked_again_for_a_while(client, painter):
    painter.held = True
    client.submit(prompt="a hat")
    wait_until(lambda: len(painter.batches) == 1)
    client.submit(prompt="a hat")
    with pytest.raises(Busy) as busy:
        client.submit(prompt="a hat")
    assert busy.value.retry_after_s >= 1
    painter.held = False
    assert client.submit(prompt="a hat", patience_s=60).result().images


def test_a_wrong_key_is_told(address):
    with pytest.raises(NotAllowed):
        Client(address, key="wrong").jobs()


def test_leaving_while_waiting_frees_the_place(address, client, painter):
    painter.held = True
    host, port = address.removeprefix("http://").split(":")
    body = b'{"prompt": "a hat"}'
    head = (
        f"POST /v1/generate?wait=true HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((host, int(port))) as leaving:
        leaving.sendall(head.encode() + body)
        wait_until(lambda: len(client.jobs()) == 1)
        assert client.jobs()[0].status in ("queued", "running")
    wait_until(lambda: client.jobs()[0].status == "cancelled")
    painter.held = False
    assert client.generate(prompt="a hat").images


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "ftp://host", "", "http://"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(BadOption, match="no address"):
        Client(address)


def test_nobody_answers():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(Unreachable, match="does not answer"):
            Client(f"http://127.0.0.1:{port}").models()


@pytest.mark.filterwarnings("ignore::facestudio.provenance.content.ContentWarning")
def test_what_is_withheld_is_told(client, pipe):
    pipe.content_checker = GivenChecker(True, False, True)
    made = client.generate(prompt="a hat", seed=1, num_images_per_prompt=2)
    assert (made.withheld, made.seeds, len(made.images)) == ([1], [2], 1)
    with pytest.raises(Withheld, match="explicit"):
        client.generate(prompt="a hat", seed=1)
