"""Text towers out of OpenAI and open_clip checkpoints, in transformers' form.

The hub holds ViT-L/14 and ViT-B/32 in transformers' form already, RN101's text tower only so.
`ModifiedResNet.from_open_clip` reads the image half of the same file.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from facestudio.errors import BadModel

HEAD_WIDTH = 64
BLOCK_NAMES = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}


def text_tower_from_open_clip(
    state: Mapping[str, Tensor], act: str = "quick_gelu"
) -> CLIPTextModelWithProjection:
    """The text tower in a CLIP checkpoint; other weights in it are passed over.

    OpenAI's own weights use `quick_gelu`, most of open_clip's `gelu`. Raises BadModel where a
    weight is absent or misshapen.
    """
    try:
        tower = CLIPTextModelWithProjection(_read_sizes(state, act))
        tower.load_state_dict(_rename(state))
    except (KeyError, RuntimeError) as error:
        raise BadModel(f"not a CLIP checkpoint with a text tower: {error}") from error
    return tower.eval()


def _read_sizes(state: Mapping[str, Tensor], act: str) -> CLIPTextConfig:
    words, width = state["token_embedding.weight"].shape
    return CLIPTextConfig(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=width * 4,
        projection_dim=state["text_projection"].shape[1],
        num_hidden_layers=_count_layers(state),
        num_attention_heads=width // HEAD_WIDTH,
        max_position_embeddings=state["positional_embedding"].shape[0],
        hidden_act=act,
        bos_token_id=words - 2,
        eos_token_id=words - 1,
        pad_token_id=words - 1,
    )


def _rename(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    base = "text_model"
    weights = {
        f"{base}.embeddings.token_embedding.weight": state["token_embedding.weight"],
        f"{base}.embeddings.position_embedding.weight": state["positional_embedding"],
        f"{base}.final_layer_norm.weight": state["ln_final.weight"],
        f"{base}.final_layer_norm.bias": state["ln_final.bias"],
        "text_projection.weight": state["text_projection"].T.contiguous(),
    }
    for layer in range(_count_layers(state)):
        block = _rename_block(state, f"transformer.resblocks.{layer}")
        weights |= {f"{base}.encoder.layers.{layer}.{name}": v for name, v in block.items()}
    return weights


def _rename_block(state: Mapping[str, Tensor], block: str) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for part in ("weight", "bias"):
        joined = torch.chunk(state[f"{block}.attn.in_proj_{part}"], 3)
        for name, value in zip("qkv", joined, strict=True):
            weights[f"self_attn.{name}_proj.{part}"] = value.clone()
        for theirs, ours in BLOCK_NAMES.items():
            weights[f"{ours}.{part}"] = state[f"{block}.{theirs}.{part}"]
    return weights


def _count_layers(state: Mapping[str, Tensor]) -> int:
    return len({name.split(".")[2] for name in state if name.startswith("transformer.resblocks.")})
