"""LoRA files in every form that diffusers reads, added for good to a base's weights.

Added once, they cost nothing while drawing.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from diffusers import StableDiffusionPipeline
from safetensors import SafetensorError

from facestudio.errors import BadModel, BadOption, MissingWeights
from facestudio.pipeline.base import Base

MAX_WEIGHT = 4.0


def parse_lora(text: str) -> tuple[Path, float]:
    """File and weight of `FILE` or `FILE:WEIGHT`; raises BadOption."""
    name, colon, number = text.rpartition(":")
    if not colon or not name:
        return Path(text), 1.0
    try:
        weight = float(number)
    except ValueError:
        return Path(text), 1.0
    if not -MAX_WEIGHT <= weight <= MAX_WEIGHT:
        raise BadOption(f"lora weight {number}: give a number from {-MAX_WEIGHT} to {MAX_WEIGHT}")
    return Path(name), weight


def add_lora_file(base: Base, path: Path, weight: float = 1.0) -> None:
    """Add `weight` times a LoRA to the base's U-Net, and to its text encoder where it has that.

    Raises MissingWeights without the file or without peft, BadModel where it does not fit.
    """
    if not path.is_file():
        raise MissingWeights(f"the LoRA {path} is missing", file=path, hint="give a path that is")
    if importlib.util.find_spec("peft") is None:
        hint = "pip install 'facestudio[lora]'"
        raise MissingWeights("the package peft, which reads LoRA files, is missing", hint=hint)
    words = base.words
    pipe = StableDiffusionPipeline(
        vae=base.vae,
        text_encoder=words.network if words else None,
        tokenizer=words.tokenizer if words else None,
        unet=base.unet,
        scheduler=base.scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    try:
        pipe.load_lora_weights(str(path.parent), weight_name=path.name, local_files_only=True)
        if not pipe.get_list_adapters():
            raise ValueError("it holds nothing for this base")
        pipe.fuse_lora(lora_scale=weight)
        pipe.unload_lora_weights()
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError) as problem:
        hint = "give a LoRA made for Stable Diffusion 1.5"
        raise BadModel(f"{path} does not fit: {problem}", file=path, hint=hint) from problem
