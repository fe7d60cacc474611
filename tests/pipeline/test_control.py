"""ControlNets: our picture is diffusers' own pipeline's with the same networks and pictures."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers import ControlNetModel, MultiControlNetModel, StableDiffusionControlNetPipeline

from facestudio.codec.kl import KLCodec
from facestudio.encoders.stable_diffusion import WordTokens
from facestudio.errors import BadModel, BadOption
from facestudio.pipeline.adapter_files import build_guidance, read_adapter
from facestudio.pipeline.pipeline import FaceStudioPipeline
from tests.pipeline.peers import UnknownEncoder, psnr
from tests.pipeline.sd15_files import TINY, face_weights, make_base, write_adapter

WORDS = "an ink drawing"


@pytest.fixture
def base():
    return make_base(TINY)


@pytest.fixture
def pipe(base, tmp_path, seeing) -> FaceStudioPipeline:
    path = write_adapter(face_weights(base.unet, TINY), tmp_path / "face.bin")
    unet = copy.deepcopy(base.unet)
    return FaceStudioPipeline(
        unet=unet,
        codec=KLCodec(base.vae),
        scheduler=base.scheduler,
        guidance=build_guidance([read_adapter(path)], unet),
        image_towers=None,
        identity_encoder=UnknownEncoder(TINY.identity_dim),
        detector=seeing(),
        text_towers=WordTokens(base.text_encoder, base.tokenizer),
    )


def make_controlnet(base, seed: int) -> ControlNetModel:
    """A ControlNet of the base whose zero convolutions are not zero any more."""
    torch.manual_seed(seed)
    network = ControlNetModel.from_unet(base.unet, conditioning_embedding_out_channels=(4, 8, 8, 8))
    for name, parameter in network.named_parameters():
        if "controlnet_" in name and parameter.ndim == 4:
            torch.nn.init.normal_(parameter, std=0.1)
    return network.eval()


def draw(pipe, **options):
    given = {"prompt": WORDS, "num_inference_steps": 2, "seed": 4, "guidance_scale": 3.0}
    return pipe(None, output_type="np", watermark=False, **given | options).images[0]


def draw_theirs(base, network, pictures, scales):
    parts = base.components | {"controlnet": network, "unet": base.unet}
    pipe = StableDiffusionControlNetPipeline(**parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe(
        WORDS,
        image=pictures,
        controlnet_conditioning_scale=scales,
        num_inference_steps=2,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(4),
        height=TINY.px,
        width=TINY.px,
        output_type="np",
    ).images[0]


def test_one_network_draws_as_in_diffusers(pipe, base, picture):
    pose = picture(1, TINY.px, TINY.px)
    pipe.controlnet = make_controlnet(base, 1)
    ours = draw(pipe, control_image=pose, controlnet_conditioning_scale=0.8)
    assert psnr(ours, draw_theirs(base, pipe.controlnet, pose, 0.8)) > 50
    assert psnr(ours, draw(pipe)) < 40


def test_pose_and_depth_together_draw_as_in_diffusers(pipe, base, picture):
    pictures = [picture(1, TINY.px, TINY.px), picture(2, TINY.px, TINY.px)]
    pipe.controlnet = MultiControlNetModel([make_controlnet(base, i) for i in (1, 2)])
    ours = draw(pipe, control_image=pictures, controlnet_conditioning_scale=[0.8, 0.5])
    assert psnr(ours, draw_theirs(base, pipe.controlnet, pictures, [0.8, 0.5])) > 50


def test_the_record_holds_what_controlled(pipe, base, picture):
    pipe.controlnet = make_controlnet(base, 1)
    settings = pipe(
        None, WORDS, num_inference_steps=1, control_image=picture(1), output_type="latent"
    ).settings
    assert settings["controlnet_conditioning_scale"] == [1.0]
    assert len(settings["control_image"][0]["sha256"]) == 64


def test_pictures_without_a_network_are_refused(pipe, picture):
    with pytest.raises(BadOption, match="1 control pictures for 0 ControlNets"):
        draw(pipe, control_image=picture(1))


@pytest.mark.parametrize("scale", [-1, 3, "a", [1.0, 1.0]])
def test_a_scale_out_of_range_is_refused(pipe, base, picture, scale):
    pipe.controlnet = make_controlnet(base, 1)
    with pytest.raises(BadOption, match="controlnet_conditioning_scale"):
        draw(pipe, control_image=picture(1), controlnet_conditioning_scale=scale)


def test_a_network_of_another_base_is_refused(pipe, base, picture):
    pipe.controlnet = make_controlnet(base, 1)
    pipe.controlnet.register_to_config(cross_attention_dim=8)
    with pytest.raises(BadModel, match="width 8, the model gives 16"):
        draw(pipe, control_image=picture(1))
