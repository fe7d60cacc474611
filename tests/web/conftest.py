"""A page without a browser: a tiny model, real faces found in photos, uploads in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from facestudio.faces.detect import DlibDetector, Face
from facestudio.faces.quality import judge_face
from facestudio.web.giving import Giving, View
from facestudio.web.photos import Photo
from facestudio.web.session import Session
from facestudio.web.studio import Studio
from tests.pipeline.conftest import PX, encoder, make_face, pipe

__all__ = ["encoder", "pipe"]  # fixtures of the pipeline's tests, used here too

MADE_HEIGHTS = (PX, 10 * PX)  # as drawn, and enlarged to measure likeness


class PageDetector:
    """dlib's detector for photos; in the tiny model's pictures it sees a face a portrait."""

    name = "page"
    licence = "CC0"

    def __init__(self) -> None:
        self.dlib = DlibDetector()

    def detect(self, image: Image.Image) -> list[Face]:
        if (side := image.height) in MADE_HEIGHTS and image.width % side == 0:
            middles = range(side // 2, image.width, side)
            return [make_face(x, side / 2, side / 2) for x in middles]
        return self.dlib.detect(image)


@pytest.fixture(scope="session")
def page_detector() -> PageDetector:
    return PageDetector()


@pytest.fixture
def studio(pipe, page_detector) -> Studio:
    """A studio whose pictures are 32 px and take milliseconds."""
    pipe.detector = page_detector
    return Studio(pipe)


@pytest.fixture
def uploads(tmp_path) -> Path:
    """The folder where uploads arrive."""
    folder = tmp_path / "uploads"
    folder.mkdir()
    return folder


@pytest.fixture
def upload(uploads) -> Callable[..., str]:
    """upload(picture, "name.png"): the path of a file as the browser has sent it."""

    def send(content: Image.Image | bytes, name: str = "photo.png") -> str:
        path = uploads / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            content.save(path)
        return str(path)

    return send


@pytest.fixture
def giving(studio, uploads) -> Giving:
    return Giving(studio.pipe, uploads)


@pytest.fixture
def session() -> Session:
    return Session()


@pytest.fixture(scope="session")
def photo(_astronaut_picture, astronaut_face) -> Photo:
    """The astronaut as a photo that was searched once."""
    quality = judge_face(_astronaut_picture, astronaut_face)
    return Photo(_astronaut_picture, (astronaut_face,), (quality,), 0)


@pytest.fixture
def ready(session, giving, photo) -> Session:
    """A session with a photo and consent."""
    session.photos["you"] = photo
    giving.consent(session, True)
    return session


@pytest.fixture
def last() -> Callable[[Iterator[View]], View]:
    """last(views): what stands on the page once all views are written, one on the other."""

    def merge(views: Iterator[View]) -> View:
        page: View = {}
        for view in views:
            page |= view
        return page

    return merge
