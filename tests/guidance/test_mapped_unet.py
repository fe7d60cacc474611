"""The U-Net that takes a face map: what the map adds, and when."""

import pytest
import torch
from diffusers import DDPMScheduler, UNet2DConditionModel

from facestudio.guidance.mapped_unet import MappedUNet, add_face_map, fit_first_guess

CHANNELS, FEATURES = 4, 3


@pytest.fixture
def plain():
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=6,
        attention_head_dim=2,
        norm_num_groups=4,
    ).eval()


@pytest.fixture
def mapped(plain):
    unet = add_face_map(plain, FEATURES).eval()
    unet.take_schedule(DDPMScheduler(1000).alphas_cumprod, "v_prediction")
    return unet


def call(unet, sample, t=500):
    with torch.no_grad():
        return unet(sample, t, torch.ones(len(sample), 2, 6)).sample


def test_a_new_map_changes_nothing(plain, mapped):
    latents, face_map = torch.randn(2, CHANNELS, 8, 8), torch.randn(2, FEATURES, 8, 8)
    assert mapped.config.in_channels == CHANNELS + FEATURES
    both = call(mapped, torch.cat([latents, face_map], 1))
    torch.testing.assert_close(both, call(plain, latents))


@pytest.mark.parametrize("kind", ["v_prediction", "epsilon", "sample"])
def test_a_right_guess_stands_for_the_clean_latents(mapped, kind):
    """Where the U-Net says zero, the prediction is what the guess alone would mean."""
    scheduler = DDPMScheduler(1000, prediction_type=kind)
    mapped.take_schedule(scheduler.alphas_cumprod, kind)
    torch.nn.init.zeros_(mapped.conv_out.weight)
    torch.nn.init.zeros_(mapped.conv_out.bias)
    mapped.first_guess.weight.data[:, :, 1, 1] = torch.randn(CHANNELS, FEATURES)
    face_map, noise = torch.randn(1, FEATURES, 8, 8), torch.randn(1, CHANNELS, 8, 8)
    guess = mapped.first_guess(face_map)
    prediction = call(mapped, torch.cat([noise, face_map], 1), 700)
    a = scheduler.alphas_cumprod[700]
    wanted = {
        "v_prediction": -(1 - a).sqrt() * guess,
        "epsilon": -(a / (1 - a)).sqrt() * guess,
        "sample": guess,
    }
    torch.testing.assert_close(prediction, wanted[kind])


def test_nobody_adds_nothing(mapped):
    torch.nn.init.normal_(mapped.first_guess.weight)
    sample = torch.randn(1, CHANNELS + FEATURES, 8, 8)
    sample[:, CHANNELS:] = 0
    before = call(mapped, sample)
    torch.nn.init.zeros_(mapped.first_guess.weight)
    torch.testing.assert_close(call(mapped, sample), before)


def test_every_row_has_the_weight_of_its_time(mapped):
    weights = mapped.weights_at(torch.tensor([0, 999]))
    assert weights.shape == (2, 1, 1, 1)
    assert abs(weights[0]) < abs(weights[1]) <= 1
    torch.testing.assert_close(mapped.weights_at(999.0), weights[1:])


def test_folder_round_trip(mapped, tmp_path):
    torch.nn.init.normal_(mapped.first_guess.weight)
    mapped.save_pretrained(tmp_path)
    again = MappedUNet.from_pretrained(tmp_path).eval()
    sample = torch.randn(1, CHANNELS + FEATURES, 8, 8)
    torch.testing.assert_close(call(again, sample), call(mapped, sample))


def test_the_fit_finds_a_convolution_that_was_there():
    known = torch.nn.Conv2d(FEATURES, CHANNELS, 3, padding=1, bias=False)

    def part(width):
        face_map, weights = torch.randn(8, FEATURES, 8, width), torch.rand(8, 1, 1, 1) + 0.5
        with torch.no_grad():
            return face_map, weights, weights * known(face_map)

    fitted = fit_first_guess([part(8), part(16)])
    torch.testing.assert_close(fitted, known.weight.data, atol=1e-2, rtol=1e-2)
