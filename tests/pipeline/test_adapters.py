"""Public adapters: our picture is diffusers' own with the same files loaded."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from facestudio.codec.kl import KLCodec
from facestudio.encoders.stable_diffusion import PictureVector, WordTokens
from facestudio.faces.identity import Identity
from facestudio.guidance.adapter import add_lora
from facestudio.pipeline.adapter_files import build_guidance, lora_of, read_adapter
from facestudio.pipeline.parts import PipelineConfig
from facestudio.pipeline.pipeline import FaceStudioPipeline
from tests.pipeline.sd15_files import (
    TINY,
    face_weights,
    make_base,
    make_vision,
    style_weights,
    write_adapter,
)

STEPS, SCALE, SEED = 3, 4.0, 7
WORDS, AVOIDED = "an ink drawing, smiling", "blurred"


class UnknownEncoder:
    """A recogniser of the face adapter's dimension that never sees a face."""

    name, version, licence, calibration = "unknown", "1", "none", None
    dimension = compare_dim = TINY.identity_dim

    def embed(self, crops):
        raise AssertionError("no test here embeds a photo")


@pytest.fixture
def base() -> StableDiffusionPipeline:
    pipe = make_base(TINY)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def files(base, tmp_path):
    """Adapter files by their names, as on the hub."""
    weights = {
        "style": (style_weights(base.unet, TINY), "models/ip-adapter_sd15.safetensors"),
        "face": (face_weights(base.unet, TINY), "ip-adapter-faceid_sd15.bin"),
    }
    return {kind: write_adapter(w, tmp_path / name) for kind, (w, name) in weights.items()}


@pytest.fixture
def adapt(base, files, seeing):
    """adapt("style", "face"): our pipeline with these adapters."""

    def make(*kinds: str) -> FaceStudioPipeline:
        unet = copy.deepcopy(base.unet)
        adapters = [read_adapter(files[kind]) for kind in kinds]
        guidance = build_guidance(adapters, unet)
        for adapter in adapters:
            add_lora(unet, lora_of(adapter, unet))
        return FaceStudioPipeline(
            unet=unet,
            codec=KLCodec(base.vae),
            scheduler=base.scheduler,
            guidance=guidance,
            image_towers=PictureVector(make_vision(TINY)) if "style" in kinds else None,
            identity_encoder=UnknownEncoder(),
            detector=seeing(),
            text_towers=WordTokens(base.text_encoder, base.tokenizer),
            config=PipelineConfig("adapted", hide_margin=0),
        )

    return make


@pytest.fixture
def peer(base, files):
    """peer([(kind, scale)], …): what diffusers' own pipeline draws with the same files."""

    def draw(scales: dict[str, float], prompt: str, picture, vector, guidance_scale) -> np.ndarray:
        parts = base.components | {
            "unet": copy.deepcopy(base.unet),
            "image_encoder": make_vision(TINY),
        }
        pipe = StableDiffusionPipeline(**parts, requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
        names = [str(files[kind].relative_to(files["face"].parent)) for kind in scales]
        root = str(files["face"].parent)
        if scales:
            pipe.load_ip_adapter(root, subfolder="", weight_name=names, image_encoder_folder=None)
            pipe.set_ip_adapter_scale(list(scales.values()))
        embeds = []
        for kind in scales:
            given = vector if kind == "face" else pipe.encode_image(picture, "cpu", 1)[0]
            given = given.reshape(1, 1, -1)
            without = [torch.zeros_like(given)] if guidance_scale > 1 else []
            embeds.append(torch.cat([*without, given]))
        return pipe(
            prompt,
            negative_prompt=AVOIDED,
            num_inference_steps=STEPS,
            guidance_scale=guidance_scale,
            generator=torch.Generator().manual_seed(SEED),
            height=TINY.px,
            width=TINY.px,
            ip_adapter_image_embeds=embeds or None,
            output_type="np",
        ).images[0]

    return draw


def make_person(seed: int) -> Identity:
    vector = np.random.default_rng(seed).standard_normal((1, TINY.identity_dim))
    return Identity.from_photos(vector.astype(np.float32), UnknownEncoder())


def draw(pipe, person, **options):
    options = {"num_inference_steps": STEPS, "guidance_scale": SCALE, "seed": SEED} | options
    given = {"negative_prompt": AVOIDED, "output_type": "np", "watermark": False} | options
    return pipe(person, **given).images[0]


def psnr(one: np.ndarray, two: np.ndarray) -> float:
    error = float(np.mean((one - two) ** 2))
    return 99.0 if error == 0 else -10 * math.log10(error)


def unit(person: Identity) -> torch.Tensor:
    """The face's vector as insightface's normed_embedding gives it."""
    return torch.from_numpy(person.embedding / np.linalg.norm(person.embedding))


CASES = {
    "style": (("style",), {"style": 1.0}, {"alpha": 1.0}, ""),
    "face": (("face",), {"face": 0.7}, {"prompt": WORDS, "identity_scale": 0.7}, WORDS),
    "both": (
        ("style", "face"),
        {"style": 0.5, "face": 1.0},
        {"prompt": WORDS, "alpha": 0.5},
        WORDS,
    ),
    "without cfg": (
        ("style", "face"),
        {"style": 0.5, "face": 1.0},
        {"prompt": WORDS, "alpha": 0.5, "guidance_scale": 1.0},
        WORDS,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_picture_is_diffusers_own(adapt, peer, picture, case):
    kinds, scales, options, prompt = CASES[case]
    person = make_person(1) if "face" in kinds else None
    style = picture(3, TINY.px, TINY.px)
    given = options | ({"style": style} if "style" in kinds else {})
    ours = draw(adapt(*kinds), person, **given)
    vector = None if person is None else unit(person)
    scale = options.get("guidance_scale", SCALE)
    theirs = peer(scales, prompt, style, vector, scale)
    assert psnr(ours, theirs) > 50
    assert psnr(ours, peer({}, prompt, style, vector, scale)) < 30  # without any adapter
