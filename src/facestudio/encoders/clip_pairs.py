"""One of the paper's towers with its text half, from the files in which CLIP is published.

ViTs come as transformers' folders (`openai/clip-vit-large-patch14`), RN101 as open_clip's file.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTextModelWithProjection

from facestudio.encoders.clip_resnet import ModifiedResNet
from facestudio.encoders.folders import load_clip
from facestudio.encoders.image_towers import ImageTower, ImageTowerConfig, load_image_tower
from facestudio.encoders.open_clip import text_tower_from_open_clip
from facestudio.errors import BadModel

Pair = tuple[ImageTower, CLIPTextModelWithProjection]


def load_clip_pair(place: Path) -> Pair:
    """The image tower and the text tower in a transformers folder or an open_clip file.

    Raises MissingWeights, BadModel.
    """
    if place.is_dir():
        return load_image_tower(place), load_clip(CLIPTextModelWithProjection, place)
    state = _read_state(place)
    try:
        network = ModifiedResNet.from_open_clip(state)
    except (KeyError, RuntimeError) as problem:
        raise BadModel(f"{place} holds no CLIP ResNet: {problem}", file=place) from problem
    return ImageTower(_config_of(network), network.eval()), text_tower_from_open_clip(state)


def _config_of(network: ModifiedResNet) -> ImageTowerConfig:
    stages = (network.layer1, network.layer2, network.layer3, network.layer4)
    return ImageTowerConfig(
        kind="resnet",
        input_px=network.input_resolution,
        output_dim=network.output_dim,
        width=network.conv3.out_channels,
        layers=tuple(len(stage) for stage in stages),
        heads=network.attnpool.heads,
    )


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, RuntimeError, OSError, EOFError, pickle.UnpicklingError) as problem:
        hint = "give open_clip's file: open_clip_model.safetensors or open_clip_pytorch_model.bin"
        raise BadModel(f"{path} does not load: {problem}", file=path, hint=hint) from problem
    return state
