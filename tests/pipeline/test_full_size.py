"""Stable Diffusion 1.5 in its true shapes: gigabytes and minutes (make test-full)."""

from __future__ import annotations

import gc

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from diffusers import StableDiffusionControlNetPipeline as PeerControl

from facestudio.pipeline.base import CONFIG
from tests.pipeline import peers
from tests.pipeline.peers import CASES, SCALE, SEED, STEPS, WORDS, draw, draw_theirs, psnr
from tests.pipeline.sd15_files import (
    FULL,
    face_weights,
    make_base,
    make_vision,
    style_weights,
    write_adapter,
)

PX = 128


@pytest.fixture(scope="module")
def base():
    yield make_base(FULL)
    gc.collect()


@pytest.fixture
def person():
    return peers.make_person(1, FULL.identity_dim)


@pytest.mark.full
def test_the_picture_is_diffusers_own(base, person, tmp_path, picture, seeing):
    files = {
        "style": write_adapter(style_weights(base.unet, FULL), tmp_path / "style.safetensors"),
        "face": write_adapter(face_weights(base.unet, FULL), tmp_path / "face.bin"),
    }
    vision, style = make_vision(FULL), picture(3, PX, PX)
    chosen = ("style", "both", "face")  # the faces' LoRA stays in our U-Net from "both" on
    theirs = {}
    for name in chosen:
        _, scales, _, prompt = CASES[name]
        theirs[name] = draw_theirs(base, vision, files, scales, prompt, style, person, SCALE, PX)
    for name in chosen:
        kinds, _, options, _ = CASES[name]
        places = [files[kind] for kind in kinds]
        pipe = peers.make_ours(base, base.unet, vision, places, seeing(), FULL, lora=name == "both")
        given = options | ({"style": style} if "style" in kinds else {})
        known = person if "face" in kinds else None
        ours = draw(pipe, known, **given, height=PX, width=PX)
        assert psnr(ours, theirs[name]) > 50, name


@pytest.mark.full
def test_a_controlnet_draws_as_in_diffusers(base, tmp_path, picture, seeing):
    torch.manual_seed(3)
    control = ControlNetModel.from_unet(base.unet).eval()
    for name, parameter in control.named_parameters():
        if "controlnet_" in name and parameter.ndim == 4:
            torch.nn.init.normal_(parameter, std=0.01)
    pose = picture(1, PX, PX)
    peer = PeerControl(**base.components, controlnet=control, requires_safety_checker=False)
    peer.set_progress_bar_config(disable=True)
    theirs = peer(
        WORDS,
        image=pose,
        negative_prompt=peers.AVOIDED,
        num_inference_steps=STEPS,
        guidance_scale=SCALE,
        generator=torch.Generator().manual_seed(SEED),
        output_type="np",
    ).images[0]
    face = write_adapter(face_weights(base.unet, FULL), tmp_path / "face.bin")
    pipe = peers.make_ours(base, base.unet, None, [face], seeing(), FULL, lora=False)
    pipe.controlnet = control
    ours = draw(pipe, None, prompt=WORDS, control_image=pose, height=PX, width=PX)
    assert psnr(ours, theirs) > 50


def test_the_sizes_of_a_single_file_are_the_true_ones():
    """What stands in for the hub's configs when a single file is read."""
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(CONFIG / "unet"))
        vae = AutoencoderKL.from_config(AutoencoderKL.load_config(CONFIG / "vae"))
    assert sum(p.numel() for p in unet.parameters()) == 859_520_964
    assert sum(p.numel() for p in vae.parameters()) == 83_653_863
    assert unet.config.cross_attention_dim == FULL.text["hidden_size"]
    assert vae.config.scaling_factor == 0.18215
