"""A codec's folder: ours and Stable Diffusion's are told apart, others refused."""

import pytest
import torch
from diffusers import AutoencoderKL, DDPMScheduler

from facestudio.codec.kl import KLCodec
from facestudio.codec.patch import PatchCodec
from facestudio.data.codecs import load_codec
from facestudio.errors import BadModel, MissingWeights


def test_ours(tmp_path):
    PatchCodec(channels=4, widths=(4, 4, 4), blocks=1).save_pretrained(tmp_path)
    assert isinstance(load_codec(tmp_path), PatchCodec)


def test_stable_diffusions_is_read_with_its_scale(tmp_path):
    torch.manual_seed(0)
    vae = AutoencoderKL(block_out_channels=(4,), norm_num_groups=4, scaling_factor=0.5)
    vae.save_pretrained(tmp_path)
    codec = load_codec(tmp_path)
    assert isinstance(codec, KLCodec)
    assert not codec.vae.training
    pixels = torch.rand(1, 3, 16, 16) * 2 - 1
    mode = vae.eval().encode(pixels).latent_dist.mode()
    assert torch.allclose(codec.encode(pixels), mode * 0.5, atol=1e-5)


def test_nothing_there_says_what_to_do(tmp_path):
    with pytest.raises(MissingWeights, match="facestudio train codec"):
        load_codec(tmp_path / "vae")


def test_another_kind_is_named(tmp_path):
    DDPMScheduler().save_pretrained(tmp_path)
    (tmp_path / "scheduler_config.json").rename(tmp_path / "config.json")
    with pytest.raises(BadModel, match="DDPMScheduler"):
        load_codec(tmp_path)
