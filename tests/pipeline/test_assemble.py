"""Trained parts become a model folder that draws what the parts drew."""

from dataclasses import replace

import pytest
import torch
from diffusers import EulerAncestralDiscreteScheduler

from facestudio.errors import MissingWeights
from facestudio.faces.load import save_identity_encoder
from facestudio.pipeline.assemble import AssembleSettings, assemble
from facestudio.pipeline.parts import PipelineConfig
from tests.pipeline.conftest import assert_alike, make_look_reader


@pytest.fixture
def settings(pipe, tmp_path) -> AssembleSettings:
    """The parts of a pipeline as the trainers export them."""
    pipe.unet.save_pretrained(tmp_path / "generator" / "unet")
    pipe.guidance.save_pretrained(tmp_path / "generator" / "guidance")
    pipe.scheduler.save_pretrained(tmp_path / "generator" / "scheduler")
    pipe.codec.save_pretrained(tmp_path / "codec")
    pipe.image_towers.save(tmp_path / "towers")
    pipe.text_towers.save(tmp_path / "towers")
    pipe.prior.save_pretrained(tmp_path / "prior")
    (tmp_path / "encoder").mkdir()
    save_identity_encoder(pipe.identity_encoder, tmp_path / "encoder")
    return AssembleSettings(
        generator=tmp_path / "generator",
        codec=tmp_path / "codec",
        towers=tmp_path / "towers",
        identity=str(tmp_path / "encoder"),
        prior=tmp_path / "prior",
        half=False,
        config=PipelineConfig("toy", num_inference_steps=3, prior_steps=2),
    )


def test_assembled_model_draws_what_its_parts_drew(settings, pipe, tmp_path):
    again = assemble(settings, tmp_path / "model")
    assert isinstance(again.scheduler, EulerAncestralDiscreteScheduler)
    assert again.config == settings.config
    one, two = (p(None, "a man in a hat", seed=4).images[0] for p in (pipe, again))
    assert_alike(one, two)


def test_half_weights_are_half_the_size(settings, tmp_path):
    assemble(settings, tmp_path / "whole")
    assemble(replace(settings, half=True), tmp_path / "half")
    unet = "unet/diffusion_pytorch_model.safetensors"
    whole, half = ((tmp_path / name / unet).stat().st_size for name in ("whole", "half"))
    assert half < 0.7 * whole


def test_model_without_words_has_no_text_towers(settings, tmp_path):
    pipe = assemble(replace(settings, words=False), tmp_path / "model")
    assert pipe.text_towers is None
    assert pipe.prior is None


def test_absent_part_is_named(settings, tmp_path):
    with pytest.raises(MissingWeights, match="nowhere is missing"):
        assemble(replace(settings, codec=tmp_path / "nowhere"), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_look_reader_is_assembled_too(settings, pipe, picture, tmp_path):
    pipe.look_reader = make_look_reader()
    pipe.look_reader.save_pretrained(tmp_path / "reader")
    again = assemble(replace(settings, look_reader=tmp_path / "reader"), tmp_path / "model")
    one, two = (p.style_vector(picture(2)) for p in (pipe, again))
    torch.testing.assert_close(one, two)
    assert assemble(settings, tmp_path / "plain").look_reader is None
