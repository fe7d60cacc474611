"""Stable Diffusion's autoencoder as a codec."""

import pytest
import torch
from diffusers import AutoencoderKL

from facestudio.codec.kl import KLCodec


@pytest.fixture
def codec():
    torch.manual_seed(0)
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[4, 4, 4, 4],
        norm_num_groups=2,
        latent_channels=4,
        scaling_factor=0.25,
    )
    return KLCodec(vae).eval().requires_grad_(False)


def test_factor_and_channels_follow_from_the_autoencoder(codec):
    assert (codec.factor, codec.channels) == (8, 4)


def test_shapes_and_ranges(codec):
    latents = codec.encode(torch.rand(2, 3, 32, 16) * 2 - 1)
    assert latents.shape == (2, 4, 4, 2)
    pixels = codec.decode(latents * 100)
    assert pixels.shape == (2, 3, 32, 16)
    assert pixels.abs().max() <= 1


def test_latents_are_the_scaled_mode_and_the_same_each_time(codec):
    pixels = torch.rand(1, 3, 16, 16) * 2 - 1
    known = codec.vae.encode(pixels).latent_dist.mode() * 0.25
    assert torch.equal(codec.encode(pixels), known)
    assert torch.equal(codec.encode(pixels), codec.encode(pixels))


def test_decoding_undoes_the_scale(codec):
    latents = torch.randn(1, 4, 2, 2)
    known = codec.vae.decode(latents / 0.25).sample.clamp(-1, 1)
    torch.testing.assert_close(codec.decode(latents), known)
    assert torch.equal(codec.decode(latents, torch.ones(1, 4)), codec.decode(latents))


def test_a_shift_is_taken_off_and_put_back(codec):
    codec.shift = 0.5
    pixels = torch.rand(1, 3, 16, 16) * 2 - 1
    known = (codec.vae.encode(pixels).latent_dist.mode() - 0.5) * 0.25
    torch.testing.assert_close(codec.encode(pixels), known)
