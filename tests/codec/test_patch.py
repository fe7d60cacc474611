"""The patch codec: shapes, the exact linear inverse, principal components, refusals."""

import numpy as np
import pytest
import torch

from facestudio.codec.patch import PatchCodec, fit_patch_codec


def smooth_pixels(count: int = 8, size: int = 32, seed: int = 0) -> torch.Tensor:
    """Pictures (B, 3, H, W) of smooth random colours in -1…1."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")


@pytest.fixture
def fitted() -> PatchCodec:
    torch.manual_seed(0)
    return fit_patch_codec([smooth_pixels(seed=s) for s in range(4)], channels=12, widths=(8, 8, 8))


def test_shapes_for_any_multiple_of_the_factor(fitted):
    pixels = torch.zeros(2, 3, 24, 40)
    latents = fitted.encode(pixels)
    assert latents.shape == (2, 12, 3, 5)
    assert fitted.decode(latents).shape == pixels.shape


def test_all_components_rebuild_exactly():
    codec = fit_patch_codec([smooth_pixels(16)], factor=2, channels=12, widths=(4,))
    pixels = smooth_pixels(seed=9)
    rebuilt = codec.decode_linear(codec.encode(pixels))
    assert torch.allclose(rebuilt, pixels, atol=1e-4)


def test_encoder_agrees_with_numpys_principal_components(fitted):
    pixels = torch.cat([smooth_pixels(seed=s) for s in range(4)])
    patches = torch.nn.functional.pixel_unshuffle(pixels, 8).permute(0, 2, 3, 1).reshape(-1, 192)
    centred = patches.double().numpy() - patches.double().numpy().mean(0)
    values = np.linalg.svd(centred, compute_uv=False)[:12] ** 2 / len(centred)
    own = fitted.encode(pixels) * fitted.scale[:, None, None]
    assert np.allclose(own.var((0, 2, 3), unbiased=False).detach(), values, rtol=1e-3, atol=1e-4)


def test_latents_have_unit_mean_variance(fitted):
    latents = fitted.encode(torch.cat([smooth_pixels(seed=s) for s in range(4)]))
    assert float(latents.var((0, 2, 3)).mean()) == pytest.approx(1, abs=0.05)


def test_fresh_decoder_is_the_linear_one(fitted):
    latents = torch.randn(1, 12, 4, 4) * 0.1
    assert torch.equal(fitted.decode(latents), fitted.decode_linear(latents).clamp(-1, 1))


def test_gradient_reaches_the_decoder_alone(fitted):
    fitted(smooth_pixels(2)).square().mean().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in fitted.refine.parameters())
    assert not fitted.basis.requires_grad


def test_noise_in_training_changes_the_picture(fitted):
    pixels = smooth_pixels(1)
    assert not torch.equal(fitted(pixels, 0.5), fitted(pixels))


def test_save_and_load_give_the_same_codec(fitted, tmp_path):
    fitted.save_pretrained(tmp_path)
    again = PatchCodec.from_pretrained(tmp_path)
    latents = torch.randn(1, 12, 4, 4)
    assert torch.equal(again.decode(latents), fitted.decode(latents))
    assert (again.factor, again.channels) == (8, 12)


def told_codec(fine_width: int = 4, flat_gate: bool = False) -> PatchCodec:
    torch.manual_seed(0)
    config = {"channels": 12, "widths": (8, 8, 8), "blocks": 1, "style_dim": 6}
    return PatchCodec(**config, fine_width=fine_width, flat_gate=flat_gate).eval()


@pytest.mark.parametrize("fine_width", [0, 4])
def test_a_fresh_decoder_that_is_told_styles_is_the_linear_one(fine_width):
    codec, latents = told_codec(fine_width), torch.randn(2, 12, 3, 5) * 0.1
    drawn = codec.decode(latents, torch.randn(2, 6))
    assert torch.equal(drawn, codec.decode_linear(latents).clamp(-1, 1))


def test_a_style_changes_its_own_picture_alone():
    codec, latents = told_codec(), torch.randn(2, 12, 4, 4)
    for weight in codec.parameters():
        torch.nn.init.normal_(weight, std=0.2)
    plain = codec.decode_unclamped(latents)
    torch.testing.assert_close(plain, codec.decode_unclamped(latents, torch.zeros(2, 6)))
    style = torch.cat([torch.zeros(1, 6), torch.ones(1, 6)])
    told = codec.decode_unclamped(latents, style)
    torch.testing.assert_close(told[0], plain[0])
    assert not torch.allclose(told[1], plain[1])


@pytest.mark.parametrize("flat_gate", [False, True])
def test_a_told_decoder_is_saved_and_loaded(tmp_path, flat_gate):
    codec, latents, style = (
        told_codec(flat_gate=flat_gate),
        torch.randn(1, 12, 2, 2),
        torch.ones(1, 6),
    )
    torch.nn.init.normal_(codec.finish.draw.weight)
    if flat_gate:
        codec.flat.bias.fill_(0.5)
    codec.save_pretrained(tmp_path)
    again = PatchCodec.from_pretrained(tmp_path)
    assert torch.equal(again.decode(latents, style), codec.decode(latents, style))


def test_widths_must_fit_the_factor():
    with pytest.raises(ValueError, match="factor 8 needs 3 widths"):
        PatchCodec(factor=8, widths=(8, 8))
