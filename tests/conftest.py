"""Parts that many tests share: one real face, generated pictures, a detector that is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import settings
from PIL import Image
from skimage.data import astronaut as read_astronaut

from facestudio.faces.align import ARCFACE_POINTS
from facestudio.faces.detect import DlibDetector, Face

settings.register_profile("quick", max_examples=40, deadline=None, derandomize=True)
settings.load_profile("quick")


@pytest.fixture(scope="session", autouse=True)
def plain_processor() -> Iterator[None]:
    """Models load in float32 unless a test asks otherwise, whatever this processor is good at."""
    import torch

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cpu, "get_capabilities", dict)
        yield


@pytest.fixture(scope="session")
def _astronaut_picture() -> Image.Image:
    return Image.fromarray(read_astronaut())


@pytest.fixture
def astronaut(_astronaut_picture: Image.Image) -> Image.Image:
    """A 512 px photo with one face, about 95 px wide."""
    return _astronaut_picture.copy()


@pytest.fixture(scope="session")
def astronaut_face(_astronaut_picture: Image.Image, detector: DlibDetector) -> Face:
    """The astronaut's face as dlib sees it."""
    (face,) = detector.detect(_astronaut_picture)
    return face


@pytest.fixture(scope="session")
def detector() -> DlibDetector:
    """The default detector, loaded once."""
    return DlibDetector()


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded random numbers."""
    return np.random.default_rng(0)


class GivenFaces:
    """A detector that answers what it is told, one answer a call, and keeps what it was shown."""

    name = "given"
    licence = "none"

    def __init__(self, *answers: list[Face]) -> None:
        self.answers: Iterator[list[Face]] = iter(answers)
        self.shown: list[Image.Image] = []

    def detect(self, image: Image.Image) -> list[Face]:
        self.shown.append(image)
        return next(self.answers)


@pytest.fixture
def given_faces() -> type[GivenFaces]:
    """The class of detectors that answer what they are told."""
    return GivenFaces


@pytest.fixture
def make_face() -> Callable[..., Face]:
    """Makes a face of a width at a place (its left top corner), points on the template."""

    def make(x: float, y: float, width: float, score: float = 1.0) -> Face:
        points = (ARCFACE_POINTS / 112 * width + [x, y]).astype(np.float32)
        return Face((x, y, x + width, y + width), points, score)

    return make


@pytest.fixture
def gradient() -> Callable[[int, int], Image.Image]:
    """Makes a picture (width, height) that is red to the right and green downwards."""

    def make(width: int, height: int) -> Image.Image:
        red = np.broadcast_to(np.linspace(0, 255, width)[None], (height, width))
        green = np.broadcast_to(np.linspace(0, 255, height)[:, None], (height, width))
        pixels = np.stack([red, green, np.full((height, width), 60.0)], axis=-1)
        return Image.fromarray(pixels.astype(np.uint8))

    return make
