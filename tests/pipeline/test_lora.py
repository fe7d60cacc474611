"""LoRA files: what is added equals what diffusers adds while it draws."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from facestudio.encoders.stable_diffusion import WordTokens
from facestudio.errors import BadModel, BadOption, MissingWeights
from facestudio.pipeline.base import Base
from facestudio.pipeline.lora import add_lora_file, parse_lora
from tests.pipeline.sd15_files import TINY, make_base

BLOCK = "down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
LINEAR = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
RANK, ALPHA = 2, 1.0


@pytest.fixture
def base() -> Base:
    theirs = make_base(TINY)
    words = WordTokens(theirs.text_encoder, theirs.tokenizer)
    return Base(theirs.unet, theirs.vae, theirs.scheduler, words, "tiny", "none")


def make_lora(key: str, linear: torch.nn.Linear) -> tuple[dict, torch.Tensor]:
    """One layer of a LoRA as kohya's trainer names it, and what it adds to the weight."""
    draw = torch.Generator().manual_seed(1)
    down = torch.randn(RANK, linear.in_features, generator=draw)
    up = torch.randn(linear.out_features, RANK, generator=draw)
    state = {
        f"{key}.lora_down.weight": down,
        f"{key}.lora_up.weight": up,
        f"{key}.alpha": torch.tensor(ALPHA),
    }
    return state, ALPHA / RANK * up @ down


@pytest.mark.parametrize("weight", [1.0, -0.5])
def test_a_lora_is_added_with_its_weight(base, tmp_path, weight):
    linear = base.unet.get_submodule(LINEAR)
    before = linear.weight.detach().clone()
    state, change = make_lora(f"lora_unet_{BLOCK}", linear)
    save_file(state, tmp_path / "ink.safetensors")
    add_lora_file(base, tmp_path / "ink.safetensors", weight)
    after = base.unet.get_submodule(LINEAR)
    assert type(after) is torch.nn.Linear  # nothing of peft is left to slow it down
    torch.testing.assert_close(after.weight, before + weight * change)


def test_the_words_half_of_a_lora_is_added_too(base, tmp_path):
    state, _ = make_lora(f"lora_unet_{BLOCK}", base.unet.get_submodule(LINEAR))
    expected = {}
    for name, linear in base.words.network.named_modules():
        if "layers.0.self_attn." in name and name.endswith("_proj"):
            key = "lora_te_text_model_" + name.removeprefix("text_model.").replace(".", "_")
            layer, change = make_lora(key, linear)
            state |= layer
            expected[name] = linear.weight.detach() + change
    save_file(state, tmp_path / "ink.safetensors")
    add_lora_file(base, tmp_path / "ink.safetensors")
    assert len(expected) == 4
    for name, weight in expected.items():
        torch.testing.assert_close(base.words.network.get_submodule(name).weight, weight)


def test_a_lora_that_is_not_there_is_named(base, tmp_path):
    with pytest.raises(MissingWeights, match=r"ink\.safetensors is missing"):
        add_lora_file(base, tmp_path / "ink.safetensors")


def test_another_file_is_refused(base, tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(BadModel, match="does not fit"):
        add_lora_file(base, tmp_path / "other.safetensors")


def test_a_lora_of_another_width_is_refused(base, tmp_path):
    state, _ = make_lora(f"lora_unet_{BLOCK}", torch.nn.Linear(24, 40))
    save_file(state, tmp_path / "wide.safetensors")
    with pytest.raises(BadModel, match="does not fit"):
        add_lora_file(base, tmp_path / "wide.safetensors")


@pytest.mark.parametrize(
    ("text", "name", "weight"),
    [("a.safetensors", "a.safetensors", 1.0), ("a.safetensors:0.7", "a.safetensors", 0.7),
     ("b:/c.safetensors", "b:/c.safetensors", 1.0)],
)  # fmt: skip
def test_a_weight_stands_behind_the_file(text, name, weight):
    path, found = parse_lora(text)
    assert (str(path), found) == (name, weight)


def test_a_weight_out_of_range_is_refused():
    with pytest.raises(BadOption, match="lora weight 9"):
        parse_lora("a.safetensors:9")
