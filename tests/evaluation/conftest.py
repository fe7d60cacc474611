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

from facestudio.data.shards import Sample, write_json, write_shard
from facestudio.evaluation import judges as judging
from facestudio.evaluation.classifiers import Classifiers, fit_classifiers
from facestudio.evaluation.classifiers import Settings as ClassifierSettings
from facestudio.evaluation.features import FeatureNetwork, Features
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


class ColourNetwork:
    """A feature network that sees a coarse grid of colours."""

    def look(self, pictures) -> Features:
        grids = [np.asarray(each.convert("RGB").resize((4, 4)), np.float32) for each in pictures]
        scene = np.array(grids, np.float32).reshape(-1, 4, 4, 3).transpose(0, 3, 1, 2) / 255
        flat = scene.reshape(len(scene), -1)
        return Features(pooled=flat, style=flat, content=flat, scene=scene)


@pytest.fixture
def seen_by_colour(monkeypatch) -> ColourNetwork:
    """A stand-in for the network whose weights come in a package."""
    network = ColourNetwork()
    monkeypatch.setattr(FeatureNetwork, "from_package", classmethod(lambda cls: network))
    return network


def write_real(folder: Path, samples: list[tuple[Image.Image, dict]]) -> Path:
    """A prepared set of pictures with records."""
    folder.mkdir()
    write_shard(folder, "shard-00000", [
        Sample({}, encoded(image), {"key": f"k{number}", "has_face": True, **record})
        for number, (image, record) in enumerate(samples)
    ])  # fmt: skip
    write_json(folder / "dataset.json", {})
    return folder


def coloured(colour: tuple[int, int, int], number: int) -> Image.Image:
    """A picture of nearly one colour."""
    noise = np.random.default_rng([*colour, number]).integers(-20, 20, (16, 16, 3))
    return Image.fromarray(np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8))


@pytest.fixture
def real_set(tmp_path) -> Path:
    """Grey photos, of women blue and of men red; smiles are bright; drawings in ink are white."""
    samples = []
    for number in range(48):
        male, smile = number % 2, number // 2 % 2
        record = {
            "split": "test" if number % 3 == 0 else "train",
            "attributes": ["Male"] * male + ["Smiling"] * smile,
            "age": [10, 30, 50, 70][number // 4 % 4],
        }
        level = 60 + 80 * smile
        colour = (level + 60 * male, level, level + 60 * (1 - male))
        samples.append((coloured(colour, number), record))
        drawn = {**record, "kind": "drawn", "style": "pen"}
        samples.append((coloured((235, 235, 235), number), drawn))
    return write_real(tmp_path / "real", samples)


@pytest.fixture
def classifier_settings(real_set, tmp_path) -> ClassifierSettings:
    return ClassifierSettings(
        data=(real_set,),
        out=tmp_path / "classifiers",
        styles={"photo": ("photo",), "ink": ("pen",)},
        attributes={"smiling": ("Smiling",), "woman": ("!Male",)},
        held_out=("test",),
    )


@pytest.fixture
def classifiers(classifier_settings, seen_by_colour) -> Classifiers:
    return fit_classifiers(classifier_settings)
