"""A server around the tiny pipeline, inside the test, and callers of it."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from facestudio.server.app import make_app
from facestudio.server.engine import LocalEngine
from facestudio.server.painter import Painter
from facestudio.server.settings import ServerSettings
from tests.pipeline.conftest import encoder, make_identity, make_picture, pipe, seeing

__all__ = ["encoder", "make_identity", "make_picture", "pipe", "seeing"]

HERE = "http://127.0.0.1:8000"
ASKED = {"identity": "anna.png", "prompt": "a man smiling", "seed": 1}
PATIENCE_S = 60.0


@pytest.fixture(autouse=True)
def at_home(tmp_path, monkeypatch):
    """An empty folder for all that is the user's own."""
    monkeypatch.setenv("FACESTUDIO_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture(scope="session")
def photo() -> bytes:
    """A picture in which the tiny detector sees one face."""
    return as_png(make_picture(1, 240, 240))


def as_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


class HeldPainter(Painter):
    """Draws while `held` is false; `batches` tells which jobs were drawn together."""

    def __init__(self, pipe: Any) -> None:
        super().__init__(pipe, most_px=64)
        self.held = False
        self.batches: list[list[str]] = []

    def paint(self, works, on_step):
        self.batches.append([work.job_id for work in works])

        def on_held_step(step: int, steps: int) -> None:
            while self.held:
                on_step(0, steps)
                time.sleep(0.005)
            on_step(step, steps)

        while self.held:
            on_step(0, 3)
            time.sleep(0.005)
        yield from super().paint(works, on_held_step)


@pytest.fixture
def painter(pipe) -> HeldPainter:
    return HeldPainter(pipe)


class GivenChecker:
    """Calls pictures explicit in the order that it is told."""

    name = "given"

    def __init__(self, *answers: bool) -> None:
        self._answers = iter(answers)

    def is_explicit(self, picture: Image.Image) -> bool:
        return next(self._answers)


def fail(problem: Exception) -> None:
    raise problem


@contextmanager
def serving(painter: Painter, settings: ServerSettings) -> Iterator[TestClient]:
    """A caller without a key of a server that is ready."""
    app = make_app(settings, LocalEngine(lambda: painter), fail)
    with TestClient(app, base_url=HERE, raise_server_exceptions=False) as caller:
        wait_until(lambda: caller.get("/ready").status_code == 200)
        yield caller


@pytest.fixture
def settings(tmp_path) -> ServerSettings:
    return ServerSettings(data=tmp_path / "server", max_side_px=64)


@pytest.fixture
def caller(painter, settings) -> Iterator[TestClient]:
    with serving(painter, settings) as caller:
        yield caller


def wait_until(holds: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Returns once it holds; fails where it does not for so long."""
    end = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def ask(caller: TestClient, asked: dict[str, Any], pictures=(), headers=None, **query: Any):
    """The answer of /v1/generate to a form; pictures: (name, bytes) each."""
    files = [("pictures", (name, data)) for name, data in pictures]
    form = {"settings": json.dumps(asked)}
    if not files:
        return caller.post("/v1/generate", json=asked, headers=headers, params=query)
    return caller.post("/v1/generate", data=form, files=files, headers=headers, params=query)


def finish(caller: TestClient, job: dict[str, Any], headers=None) -> dict[str, Any]:
    """The job once it has ended."""

    def look() -> dict[str, Any]:
        return caller.get(f"/v1/jobs/{job['id']}", headers=headers).json()

    wait_until(lambda: look()["progress"]["status"] not in ("queued", "running"))
    return look()


@pytest.fixture(autouse=True)
def quiet_engine(caplog):
    caplog.set_level(logging.INFO, "facestudio.server")
