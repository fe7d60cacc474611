"""People made of smooth colours, a detector that sees a face in all of them, a tiny pipeline."""

from __future__ import annotations

import importlib.util
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from facestudio.evaluation import judges as judging
from facestudio.evaluation.settings import EvaluationSettings
from facestudio.faces.detect import Face


def _load_tiny():
    """The pipeline's own tiny parts (`tests/pipeline/conftest.py`)."""
    path = Path(__file__).parents[1] / "pipeline/conftest.py"
    spec = importlib.util.spec_from_file_location("tiny_pipeline", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tiny = _load_tiny()
encoder, pipe = tiny.encoder, tiny.pipe
PHOTO_PX = 192


class ColourEncoder:
    """A recogniser that knows people by the colours of their face."""

    name, version, licence = "colour", "1", "CC0"
    dimension = compare_dim = 48
    calibration = None

    def embed(self, crops: np.ndarray) -> np.ndarray:
        cells = crops.reshape(len(crops), 4, 28, 4, 28, 3).mean((2, 4)) / 127.5 - 1
        vectors = cells.reshape(len(crops), -1).astype(np.float32)
        return vectors / np.sqrt((vectors**2).mean(-1, keepdims=True) + 1e-9)


def photo(person: int, number: int) -> Image.Image:
    """A photo of a made person: their own colours and a little noise."""
    rng = np.random.default_rng([person, number])
    own = np.random.default_rng(person).integers(0, 255, (4, 4, 3))
    noisy = np.clip(own + rng.normal(0, 12, own.shape), 0, 255).astype(np.uint8)
    return Image.fromarray(noisy).resize((PHOTO_PX, PHOTO_PX), Image.Resampling.BICUBIC)


def encoded(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def write_people(path: Path, people: int, photos: int = 2, **labels: object) -> Path:
    with tarfile.open(path, "w") as tar:
        for person in range(people):
            for number in range(photos):
                record = {"person": f"p{person}", "gender": ["male", "female"][person % 2]}
                members = {
                    "png": encoded(photo(person, number)),
                    "json": json.dumps(record | labels).encode(),
                }
                for suffix, data in members.items():
                    info = tarfile.TarInfo(f"p{person}_{number}.{suffix}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return path


class SizedDetector:
    """Sees a face in every picture of `blind_below` pixels or more, over its middle half."""

    name, licence = "sized", "CC0"
    blind_below = 0

    def detect(self, image: Image.Image) -> list[Face]:
        if min(image.size) < self.blind_below:
            return []
        return [tiny.make_face(image.width / 2, image.height / 2, image.width / 2)]


@pytest.fixture
def judged_by_colour(monkeypatch) -> SizedDetector:
    """Stand-ins for the files that are not shipped: the detector's and the recogniser's."""
    detector = SizedDetector()
    monkeypatch.setattr(judging, "load_detector", lambda spec: detector)
    monkeypatch.setattr(judging, "OnnxEncoder", lambda path, value_range: ColourEncoder())
    return detector


@pytest.fixture
def people_tar(tmp_path) -> Path:
    return write_people(tmp_path / "people.tar", 6)


@pytest.fixture
def settings(tmp_path, people_tar) -> EvaluationSettings:
    (tmp_path / "recogniser.onnx").touch()
    return EvaluationSettings(
        people=people_tar,
        out=tmp_path / "out",
        recogniser=tmp_path / "recogniser.onnx",
        min_face_px=4,
        prompts=("a man smiling",),  # words that the tiny tokenizer knows
        num_inference_steps=2,
        timed=0,
    )
