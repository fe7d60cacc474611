"""Tiny towers and the public implementation of CLIP to compare with."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from transformers import BertTokenizer

from facestudio.encoders.image_towers import ImageTowers
from facestudio.encoders.text_towers import TextTowers
from facestudio.encoders.wordpiece import build_vocabulary, make_tokenizer

IMAGE_TOWERS = [
    {
        "kind": "vit",
        "input_px": 32,
        "output_dim": 8,
        "width": 16,
        "layers": [1],
        "heads": 2,
        "patch": 8,
    },
    {
        "kind": "resnet",
        "input_px": 64,
        "output_dim": 12,
        "width": 4,
        "layers": [1, 2, 1, 1],
        "heads": 4,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
    },
]
TEXT_TOWERS = [
    {"output_dim": 8, "width": 16, "layers": 1, "heads": 2, "context_length": 12},
    {"output_dim": 12, "width": 8, "layers": 2, "heads": 2, "context_length": 12},
]
CAPTIONS = ["a man with a hat", "a woman with a hat, smiling", "a man smiling"] * 2


@pytest.fixture
def image_towers() -> ImageTowers:
    torch.manual_seed(0)
    return ImageTowers.from_config(IMAGE_TOWERS).eval()


@pytest.fixture
def tokenizer() -> BertTokenizer:
    return make_tokenizer(build_vocabulary(CAPTIONS, ["pencil"], min_count=2), 12)


@pytest.fixture
def text_towers(tokenizer: BertTokenizer) -> TextTowers:
    torch.manual_seed(0)
    return TextTowers.from_config(TEXT_TOWERS, tokenizer).eval()


@pytest.fixture(scope="session")
def openai_clip() -> ModuleType:
    """`clip/model.py` of clip-anytorch, by path: importing the package wants torchvision."""
    package = importlib.util.find_spec("clip")
    if package is None or not package.submodule_search_locations:
        pytest.skip("clip-anytorch is missing: pip install --no-deps clip-anytorch==2.6.0")
    path = Path(package.submodule_search_locations[0]) / "model.py"
    spec = importlib.util.spec_from_file_location("openai_clip_model", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
