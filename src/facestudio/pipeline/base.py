"""A Stable Diffusion 1.5 base as people share them: hub name, diffusers folder, or single file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    EulerAncestralDiscreteScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.loaders.single_file_utils import SingleFileComponentError
from diffusers.utils import logging
from safetensors import SafetensorError

from facestudio.encoders.folders import quiet_bars
from facestudio.encoders.stable_diffusion import WordTokens
from facestudio.encoders.text_towers import TOKENIZER, load_tokenizer
from facestudio.errors import BadModel, MissingWeights
from facestudio.pipeline.hub import find_folder
from facestudio.pipeline.load import INDEX, load_part, read_index
from facestudio.pipeline.origins import UNKNOWN_LICENCE, card_licence

CONFIG = Path(__file__).parent / "sd15_config"
SINGLE_FILES = (".safetensors", ".ckpt")
PARTS = ("unet", "vae", "scheduler")
WORD_PARTS = ("text_encoder", TOKENIZER)
WEIGHTS = {
    "unet": "diffusion_pytorch_model",
    "vae": "diffusion_pytorch_model",
    "text_encoder": "model",
}
FAILURES = (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError)
WHAT = "Stable Diffusion 1.5 base"


@dataclass
class Base:
    """A base's parts; words: its text encoder, where it was asked for."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    scheduler: EulerAncestralDiscreteScheduler
    words: WordTokens | None
    origin: str
    licence: str


def load_base(
    name: str,
    *,
    words: bool,
    tokenizer: Path | None = None,
    dtype: torch.dtype = torch.float32,
    offline: bool = False,
    config: Path = CONFIG,
) -> Base:
    """The base called `name`, sampled by Euler ancestral as in the paper.

    words: with its text encoder. tokenizer: a folder, needed for the words of a single file, which
    holds none. config: the sizes of a single file's parts.
    Raises MissingWeights, BadModel.
    """
    path = Path(name)
    if path.is_file() or path.suffix in SINGLE_FILES:
        base = _load_single_file(path, words, tokenizer, dtype, config)
    else:
        patterns = _patterns(words)
        folder = find_folder(name, WHAT, patterns, marker=INDEX, offline=offline)
        base = _load_folder(folder, name, words, dtype)
    _check_kind(base)
    return base


def _patterns(words: bool) -> list[str]:
    parts = (*PARTS, *WORD_PARTS) if words else PARTS
    weights = [f"{part}/{stem}.safetensors" for part, stem in WEIGHTS.items() if part in parts]
    settings = [f"{part}/*.{end}" for part in parts for end in ("json", "txt")]
    return [INDEX, "README.md", *weights, *settings]


def _load_folder(folder: Path, name: str, words: bool, dtype: torch.dtype) -> Base:
    index = read_index(folder)
    for part in PARTS:
        if index.get(part) is None:
            raise BadModel(f"{folder / INDEX} names no {part}", file=folder / INDEX)
    scheduler = load_part(folder, "scheduler", index, dtype)
    return Base(
        unet=load_part(folder, "unet", index, dtype),
        vae=load_part(folder, "vae", index, dtype),
        scheduler=EulerAncestralDiscreteScheduler.from_config(scheduler.config),
        words=WordTokens.load(folder).to(dtype) if words else None,
        origin=name,
        licence=card_licence(folder),
    )


def _load_single_file(
    path: Path, words: bool, tokenizer: Path | None, dtype: torch.dtype, config: Path
) -> Base:
    if not path.is_file():
        hint = "give a file that exists, a diffusers folder, or owner/name on the hub"
        raise MissingWeights(f"{WHAT}: {path} is missing", file=path, hint=hint)
    given: dict[str, Any] = {"safety_checker": None, "feature_extractor": None}
    given |= {TOKENIZER: load_tokenizer(tokenizer) if words and tokenizer else None}
    if not words:
        given |= {"text_encoder": None}
    try:
        with quiet_bars(), quiet_bars(logging):
            pipe = StableDiffusionPipeline.from_single_file(
                str(path), config=str(config), local_files_only=True, torch_dtype=dtype, **given
            )
    except (*FAILURES, SingleFileComponentError) as problem:
        hint = "give a whole checkpoint of Stable Diffusion 1.5, not a LoRA or an SDXL file"
        message = f"{path} is no {WHAT}: {problem}"
        raise BadModel(message, file=path, hint=hint) from problem
    return Base(
        unet=pipe.unet,
        vae=pipe.vae,
        scheduler=pipe.scheduler,
        words=WordTokens(pipe.text_encoder, pipe.tokenizer).eval() if words else None,
        origin=path.name,
        licence=UNKNOWN_LICENCE,
    )


def _check_kind(base: Base) -> None:
    """Raise BadModel for other models that come in the same form."""
    config = base.unet.config
    latents = base.vae.config.latent_channels
    problems: Sequence[tuple[bool, str]] = (
        (config.in_channels != latents, "an inpainting model"),
        (config.addition_embed_type is not None, "Stable Diffusion XL"),
        (not isinstance(config.cross_attention_dim, int), "no plain text-to-image model"),
    )
    for wrong, found in problems:
        if wrong:
            raise BadModel(f"{base.origin} is {found}; wanted a {WHAT}", file=base.origin)
