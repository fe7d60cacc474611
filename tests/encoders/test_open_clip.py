"""Both halves of a CLIP checkpoint are read as OpenAI's own code reads them."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor

from facestudio.encoders.clip_resnet import ModifiedResNet
from facestudio.encoders.open_clip import text_tower_from_open_clip
from facestudio.errors import BadModel

WORDS = 30


@pytest.fixture
def checkpoint(openai_clip: ModuleType) -> tuple[torch.nn.Module, dict[str, Tensor]]:
    torch.manual_seed(0)
    model = openai_clip.CLIP(
        embed_dim=12,
        image_resolution=32,
        vision_layers=(1, 1, 1, 1),
        vision_width=8,
        vision_patch_size=None,
        context_length=9,
        vocab_size=WORDS,
        transformer_width=128,
        transformer_heads=2,
        transformer_layers=2,
    ).eval()
    for block in model.transformer.resblocks:
        torch.nn.init.normal_(block.attn.in_proj_bias, std=0.1)
    return model, model.state_dict()


def test_words_become_the_same_vectors(
    checkpoint: tuple[torch.nn.Module, dict[str, Tensor]],
) -> None:
    model, state = checkpoint
    end = WORDS - 1
    tokens = torch.tensor([[28, 3, 5, end, 0, 0, 0, 0, 0], [28, 1, 2, 3, 4, 5, 6, 7, end]])
    tower = text_tower_from_open_clip(state)
    with torch.no_grad():
        ours, theirs = tower(input_ids=tokens).text_embeds, model.encode_text(tokens)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_pictures_become_the_same_vectors(
    checkpoint: tuple[torch.nn.Module, dict[str, Tensor]],
) -> None:
    model, state = checkpoint
    pixels = torch.randn(2, 3, 32, 32)
    ours = ModifiedResNet.from_open_clip(state).eval()(pixels)
    torch.testing.assert_close(ours, model.encode_image(pixels), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "lost", ["text_projection", "ln_final.bias", "transformer.resblocks.1.attn.in_proj_bias"]
)
def test_a_weight_too_few_is_refused(
    checkpoint: tuple[torch.nn.Module, dict[str, Tensor]], lost: str
) -> None:
    state = dict(checkpoint[1])
    del state[lost]
    with pytest.raises(BadModel):
        text_tower_from_open_clip(state)
