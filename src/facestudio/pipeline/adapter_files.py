"""The public files of IP-Adapter and IP-Adapter-FaceID, read into our guidance.

A file holds `image_proj` (a vector -> tokens) and `ip_adapter`: numbered keys and values, one pair
for each cross-attention, and in FaceID's a LoRA for every attention of the U-Net. Numbers count
the attentions in the U-Net's order, self-attention included. `.bin` files nest the two parts,
`.safetensors` join the names by dots.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from facestudio.errors import BadModel
from facestudio.guidance.adapter import Adapter, AdapterGuidance, layer_widths_of

Weights = dict[str, Tensor]
Kind = Literal["style", "face"]

PROJECTION, LAYERS = "image_proj", "ip_adapter"
KNOWN = {"style": "ip-adapter_sd15", "face": "ip-adapter-faceid_sd15"}
SAME_BASE = "adapters named sd15 go with Stable Diffusion 1.5 and models made from it"
OTHERS = {
    "perceiver_resampler.proj_in.weight": "IP-Adapter-FaceID-Plus",
    "proj.3.weight": "IP-Adapter full face",
    "latents": "IP-Adapter-Plus",
}
PROJECTION_NAMES = {
    "style": {"proj.": "image_embeds.", "norm.": "norm."},
    "face": {"proj.0.": "ff.net.0.proj.", "proj.2.": "ff.net.2.", "norm.": "norm."},
}
LORA_PLACES = {"to_q": "to_q", "to_k": "to_k", "to_v": "to_v", "to_out": "to_out.0"}


@dataclass(frozen=True)
class AdapterFile:
    """What an adapter file holds, by the names it has there; kind: what its vector tells."""

    path: Path
    kind: Kind
    projection: Weights
    layers: Weights


def read_adapter(path: Path) -> AdapterFile:
    """The adapter in a `.bin` or `.safetensors` file.

    Raises BadModel where it is damaged, no adapter, or of a kind that is not supported.
    """
    projection, layers = _read_parts(path)
    kind = _kind_of(projection, path)
    return AdapterFile(path, kind, projection, layers)


def build_guidance(files: Sequence[AdapterFile], unet: UNet2DConditionModel) -> AdapterGuidance:
    """The guidance of one style adapter, one face adapter, or both, for `unet`.

    Raises BadModel where a file does not fit the U-Net.
    """
    sizes: dict[str, int] = {}
    for file in files:
        sizes |= _style_sizes(file) if file.kind == "style" else _face_sizes(file)
        _check_width(file, sizes["width"], unet.config.cross_attention_dim)
    guidance = AdapterGuidance(sizes.pop("width"), layer_widths_of(unet), **sizes)
    for file in files:
        adapter = guidance.style if file.kind == "style" else guidance.face
        assert adapter is not None
        _fill(adapter, file)
    return guidance.eval()


def lora_of(file: AdapterFile, unet: UNet2DConditionModel) -> Weights:
    """The file's LoRA as `add_lora` takes it; empty where it has none."""
    places = [name.removesuffix(".processor") for name in unet.attn_processors]
    found: Weights = {}
    for key, value in file.layers.items():
        number, _, rest = key.partition(".")
        linear, is_lora, direction = rest.removesuffix(".weight").partition("_lora.")
        if is_lora:
            place = f"{places[int(number)]}.{LORA_PLACES[linear]}"
            found[f"{place}.{direction}"] = value
    return found


def _read_parts(path: Path) -> tuple[Weights, Weights]:
    """The tables `image_proj` and `ip_adapter`."""
    try:
        stored = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (SafetensorError, RuntimeError, OSError, EOFError, pickle.UnpicklingError) as problem:
        raise BadModel(f"{path} does not load: {problem}", file=path) from problem
    parts = (_table(stored, PROJECTION), _table(stored, LAYERS))
    if not all(parts):
        message = f"{path} is no adapter: it holds no {PROJECTION} or no {LAYERS}"
        raise BadModel(message, file=path, hint=_wanted())
    return parts


def _table(stored: Mapping[str, Tensor | Weights], name: str) -> Weights:
    nested = stored.get(name)
    if isinstance(nested, dict):
        return nested
    dotted = ((key.removeprefix(f"{name}."), key) for key in stored if key.startswith(f"{name}."))
    return {short: stored[key] for short, key in dotted}  # type: ignore[misc]


def _kind_of(projection: Weights, path: Path) -> Kind:
    for key, name in OTHERS.items():
        if key in projection:
            raise BadModel(f"{path} is {name}, which is not supported", file=path, hint=_wanted())
    if "proj.weight" in projection:
        return "style"
    if {"proj.0.weight", "proj.2.weight", "norm.weight"} <= projection.keys():
        return "face"
    raise BadModel(f"{path} is an adapter of an unknown kind", file=path, hint=_wanted())


def _wanted() -> str:
    return f"use {' or '.join(f'{name} ({kind})' for kind, name in KNOWN.items())}"


def _style_sizes(file: AdapterFile) -> dict[str, int]:
    width = file.projection["norm.weight"].shape[0]
    out, dim = file.projection["proj.weight"].shape
    return {"width": width, "style_dim": dim, "style_tokens": out // width}


def _face_sizes(file: AdapterFile) -> dict[str, int]:
    width = file.projection["norm.weight"].shape[0]
    hidden, dim = file.projection["proj.0.weight"].shape
    tokens = file.projection["proj.2.weight"].shape[0] // width
    return {
        "width": width,
        "identity_dim": dim,
        "identity_tokens": tokens,
        "identity_mult": hidden // dim,
    }


def _check_width(file: AdapterFile, width: int, wanted: int) -> None:
    if width != wanted:
        message = f"{file.path} makes tokens of width {width}, the base model reads {wanted}"
        raise BadModel(message, file=file.path, hint=SAME_BASE)


def _fill(adapter: Adapter, file: AdapterFile) -> None:
    """Give the adapter the file's weights."""
    weights = {f"project.{k}": v for k, v in _renamed(file.projection, file.kind).items()}
    for part, name in (("keys", "to_k_ip"), ("values", "to_v_ip")):
        for layer in range(len(adapter.keys)):
            key = f"{2 * layer + 1}.{name}.weight"  # every second attention is a cross-attention
            if key in file.layers:
                weights[f"{part}.{layer}.weight"] = file.layers[key]
    try:
        adapter.load_state_dict(weights)
    except RuntimeError as problem:
        message = f"{file.path} does not fit the base model: {problem}"
        raise BadModel(message, file=file.path, hint=SAME_BASE) from problem


def _renamed(projection: Weights, kind: Kind) -> Weights:
    names = PROJECTION_NAMES[kind]
    return {
        key.replace(old, new, 1): value
        for key, value in projection.items()
        for old, new in names.items()
        if key.startswith(old)
    }
