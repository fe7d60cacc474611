"""diffusers' own pipeline with public adapters loaded, and ours with the same files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image

from facestudio.codec.kl import KLCodec
from facestudio.encoders.stable_diffusion import PictureVector, WordTokens
from facestudio.faces.identity import Identity
from facestudio.guidance.adapter import add_lora
from facestudio.pipeline.adapter_files import build_guidance, lora_of, read_adapter
from facestudio.pipeline.parts import PipelineConfig
from facestudio.pipeline.pipeline import FaceStudioPipeline
from tests.pipeline.sd15_files import Sizes

STEPS, SCALE, SEED = 3, 4.0, 7
WORDS, AVOIDED = "an ink drawing, smiling", "blurred"

# what is compared: adapters, their scales in diffusers, our options, words
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


class UnknownEncoder:
    """A recogniser of the face adapter's dimension that never sees a face."""

    name, version, licence, calibration = "unknown", "1", "none", None

    def __init__(self, dimension: int) -> None:
        self.dimension = self.compare_dim = dimension

    def embed(self, crops):
        raise AssertionError("no test here embeds a photo")


def make_person(seed: int, dimension: int) -> Identity:
    vector = np.random.default_rng(seed).standard_normal((1, dimension))
    return Identity.from_photos(vector.astype(np.float32), UnknownEncoder(dimension))


def make_ours(
    base: StableDiffusionPipeline,
    unet: UNet2DConditionModel,
    vision,
    files: Sequence[Path],
    detector,
    sizes: Sizes,
    lora: bool = True,
) -> FaceStudioPipeline:
    """Our pipeline of the base's parts, with the adapters' LoRA added to `unet` for good."""
    adapters = [read_adapter(path) for path in files]
    guidance = build_guidance(adapters, unet)
    for adapter in adapters if lora else ():
        add_lora(unet, lora_of(adapter, unet))
    return FaceStudioPipeline(
        unet=unet,
        codec=KLCodec(base.vae),
        scheduler=base.scheduler,
        guidance=guidance,
        image_towers=PictureVector(vision) if guidance.style_dim else None,
        identity_encoder=UnknownEncoder(sizes.identity_dim),
        detector=detector,
        text_towers=WordTokens(base.text_encoder, base.tokenizer),
        config=PipelineConfig("adapted", hide_margin=0),
    )


def draw(pipe: FaceStudioPipeline, person: Identity | None, **options) -> np.ndarray:
    """Our picture, (H, W, 3) in 0...1, without the watermark that diffusers does not add."""
    given = {
        "num_inference_steps": STEPS,
        "guidance_scale": SCALE,
        "seed": SEED,
        "negative_prompt": AVOIDED,
        "output_type": "np",
        "watermark": False,
    }
    return pipe(person, **given | options).images[0]


def draw_theirs(
    base: StableDiffusionPipeline,
    vision,
    files: Mapping[str, Path],
    scales: Mapping[str, float],
    prompt: str,
    picture: Image.Image,
    person: Identity | None,
    guidance_scale: float,
    px: int,
) -> np.ndarray:
    """diffusers' picture with the adapters in `scales`; its U-Net is left as it was."""
    parts = base.components | {"image_encoder": vision}
    pipe = StableDiffusionPipeline(**parts, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    if scales:
        places = [files[kind] for kind in scales]
        pipe.load_ip_adapter(
            [str(place.parent) for place in places],
            subfolder="",
            weight_name=[place.name for place in places],
            image_encoder_folder=None,
        )
        pipe.set_ip_adapter_scale(list(scales.values()))
    image = pipe(
        prompt,
        negative_prompt=AVOIDED,
        num_inference_steps=STEPS,
        guidance_scale=guidance_scale,
        generator=torch.Generator().manual_seed(SEED),
        height=px,
        width=px,
        ip_adapter_image_embeds=_embeds(pipe, scales, picture, person, guidance_scale > 1),
        output_type="np",
    ).images[0]
    if scales:
        pipe.unload_ip_adapter()
        pipe.unload_lora_weights()
    return image


def _embeds(pipe, scales, picture, person, cfg: bool) -> list[torch.Tensor] | None:
    found = []
    for kind in scales:
        given = pipe.encode_image(picture, "cpu", 1)[0] if kind == "style" else unit(person)
        given = given.reshape(1, 1, -1)
        found.append(torch.cat([torch.zeros_like(given), given]) if cfg else given)
    return found or None


def unit(person: Identity) -> torch.Tensor:
    """The face's vector as insightface's normed_embedding gives it."""
    return torch.from_numpy(person.embedding / np.linalg.norm(person.embedding))


def psnr(one: np.ndarray, two: np.ndarray) -> float:
    """Decibels between two pictures in 0...1."""
    return -10 * math.log10(float(np.mean((one - two) ** 2)) + 1e-20)
