"""Encoders that are read when needed draw the same, and are read no oftener than needed."""

import pytest
import torch
from torch import nn

from facestudio import FaceStudioPipeline
from facestudio.encoders.image_towers import ImageTowers
from facestudio.encoders.late import LateEncoder
from facestudio.encoders.text_towers import TextTowers
from facestudio.errors import MissingWeights
from tests.pipeline.conftest import assert_alike


@pytest.fixture
def folder(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def late(folder, seeing):
    return FaceStudioPipeline.from_pretrained(folder, detector=seeing(0.5), keep_encoders=False)


@pytest.fixture
def reads(monkeypatch) -> list[type]:
    """Which encoders were read, from now on."""
    read = []
    original = LateEncoder.read

    def count(self):
        read.append(self.kind)
        return original(self)

    monkeypatch.setattr(LateEncoder, "read", count)
    return read


def draw(pipe, picture, **more):
    given = {"prompt": "a hat", "style": picture(4), "seed": 1, "output_type": "np"} | more
    return pipe(None, **given).images[0]


def test_it_draws_the_same(pipe, late, picture):
    assert_alike(draw(late, picture), draw(pipe, picture))


def test_no_encoder_lies_in_memory(late, picture):
    draw(late, picture)
    assert {"image_towers", "text_towers"}.isdisjoint(late.networks())
    assert not any(isinstance(value, nn.Module) for value in vars(late.image_towers).values())


def test_a_picture_that_is_known_needs_no_encoder(late, picture, reads):
    draw(late, picture, prompt=None)
    assert reads == [ImageTowers]
    draw(late, picture, prompt=None, seed=2)
    assert reads == [ImageTowers]


def test_an_encoder_follows_the_pipeline(late, picture):
    late.to(torch.float64)
    assert next(late.image_towers.read().parameters()).dtype == torch.float64


def test_it_is_saved_whole(late, tmp_path, pipe, picture, seeing):
    late.save_pretrained(tmp_path / "copy")
    again = FaceStudioPipeline.from_pretrained(
        tmp_path / "copy", detector=seeing(0.5), keep_encoders=True
    )
    assert isinstance(again.text_towers, TextTowers)
    assert_alike(draw(again, picture), draw(pipe, picture))


def test_weights_that_are_gone_are_named_when_they_are_needed(late, folder, picture):
    (folder / "image_encoder_0" / "model.safetensors").unlink()
    with pytest.raises(MissingWeights, match="image_encoder_0"):
        draw(late, picture)
