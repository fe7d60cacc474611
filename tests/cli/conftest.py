"""The command run inside the test, and a tiny model folder that the pipeline itself has saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from facestudio.cli.app import app
from facestudio.faces.detect import DlibDetector, Face
from facestudio.faces.encoder_folder import read_description
from facestudio.faces.identity import Identity
from facestudio.identities.store import IdentityStore
from tests.pipeline.conftest import encoder, make_picture, pipe

__all__ = ["encoder", "make_picture", "pipe"]  # fixtures of the pipeline's tests, used here too

TINY_PX = 58  # the tiny model's picture with the padding of a second look


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one object on stdout."""
        return json.loads(self.out)


Command = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def at_home(tmp_path, monkeypatch) -> Path:
    """An empty folder to stand in, with the user's own folder inside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACESTUDIO_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def cli() -> Command:
    """`cli("generate", "a.jpg")` runs the command in this process."""

    def run(*words: Any) -> Outcome:
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return run


class BriefDetector:
    """dlib's detector, loaded once for all tests; in the tiny model's pictures it sees nobody."""

    def __init__(self) -> None:
        self.dlib = DlibDetector()
        self.name, self.licence = self.dlib.name, self.dlib.licence

    def detect(self, image: Image.Image) -> list[Face]:
        return self.dlib.detect(image) if max(image.size) > TINY_PX else []


@pytest.fixture(scope="session")
def detector() -> BriefDetector:
    return BriefDetector()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("model") / "tiny"


@pytest.fixture
def model(model_folder, detector, monkeypatch, request) -> Path:
    """A model folder of tiny seeded parts, written once."""
    monkeypatch.setattr("facestudio.pipeline.load.DlibDetector", lambda: detector)
    if not model_folder.exists():
        request.getfixturevalue("pipe").save_pretrained(model_folder)
    return model_folder


@pytest.fixture(scope="session")
def astronaut(tmp_path_factory) -> Path:
    """A photo with one face (public domain), cropped so that it is quickly searched."""
    from skimage import data

    path = tmp_path_factory.mktemp("photos") / "astronaut.jpg"
    Image.fromarray(data.astronaut()[20:220, 120:320]).save(path, quality=95)
    return path


@pytest.fixture(scope="session")
def couple(astronaut) -> Path:
    """A photo with two faces."""
    with Image.open(astronaut) as opened:
        photo = opened.convert("RGB")
    both = Image.new("RGB", (photo.width * 2, photo.height))
    both.paste(photo, (0, 0))
    both.paste(photo, (photo.width, 0))
    path = astronaut.with_name("couple.png")
    both.save(path)
    return path


@pytest.fixture
def anna(model, at_home) -> str:
    """A saved person of the tiny model: no photo has to be searched for a face."""
    described = read_description(model)
    encoder = f"{described.name}@{described.version}"
    vector = np.random.default_rng(1).standard_normal(described.dimension).astype(np.float32)
    IdentityStore().add("anna", Identity(vector, encoder, described.compare_dim, vector[None]))
    return "@anna"


@pytest.fixture
def swatch(at_home) -> Path:
    """A style picture of nobody."""
    make_picture(5, 64, 64).save("swatch.png")
    return Path("swatch.png")
