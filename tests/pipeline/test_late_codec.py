"""An autoencoder that is read late draws the same, and not before a picture is decoded."""

import json

import pytest
import torch

from facestudio import FaceStudioPipeline
from facestudio.codec.kl import KLCodec
from facestudio.errors import BadModel, MissingWeights
from facestudio.pipeline.late_codec import LateCodec
from tests.pipeline.conftest import assert_alike, make_kl_codec


@pytest.fixture
def folder(pipe, tmp_path):
    pipe.codec = make_kl_codec(pipe.codec.channels)
    pipe.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def load(folder, seeing):
    def load(**more):
        given = {"detector": seeing(0.5), "keep_encoders": False} | more
        return FaceStudioPipeline.from_pretrained(folder, **given)

    return load


def draw(pipe, **more):
    return pipe(None, prompt="a hat", seed=1, **{"output_type": "np"} | more).images[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_draws_the_same_and_is_read_when_a_picture_is_decoded(load, dtype):
    late = load(torch_dtype=dtype)
    assert isinstance(late.codec, LateCodec)
    draw(late, output_type="latent")
    assert not late.codec.is_read
    early = load(torch_dtype=dtype, keep_encoders=True)
    assert isinstance(early.codec, KLCodec)
    assert_alike(draw(late), draw(early))
    assert late.codec.is_read
    assert late.codec.read() is late.codec.read()
    layers = [[type(m) for m in codec.modules()] for codec in (late.codec.read(), early.codec)]
    assert layers[0] == layers[1]


def test_its_sizes_are_known_before(load):
    late, early = load().codec, load(keep_encoders=True).codec
    assert (late.factor, late.channels) == (early.factor, early.channels)
    assert not late.is_read


def test_it_follows_the_pipeline(load):
    pipe = load().to(torch.float64)
    assert isinstance(pipe.codec, KLCodec)
    assert pipe.codec.vae.dtype == torch.float64


def test_it_is_saved_whole(load, tmp_path, picture):
    late = load()
    late.save_pretrained(tmp_path / "copy")
    assert (tmp_path / "copy" / "vae" / "config.json").is_file()
    start = picture(3)
    again = FaceStudioPipeline.from_pretrained(tmp_path / "copy", detector=late.detector)
    one, two = (draw(pipe, image=start, strength=0.5) for pipe in (late, again))
    assert_alike(one, two)


def test_a_part_that_is_not_there_is_named_at_once(load, folder):
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(MissingWeights, match="vae"):
        load()


def test_a_config_without_sizes_is_refused(load, folder):
    path = folder / "vae" / "config.json"
    told = json.loads(path.read_text())
    del told["latent_channels"]
    path.write_text(json.dumps(told))
    with pytest.raises(BadModel, match="latent_channels"):
        load()
