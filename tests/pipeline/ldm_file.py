"""A base in one file under the names of the original code, as people share Stable Diffusion 1.5.

The way back of what diffusers does in `convert_ldm_unet_checkpoint` and its like, for the
structure of Stable Diffusion 1.5: four levels of two blocks.
"""

from __future__ import annotations

import re

import torch

UNET, VAE, TEXT = (
    "model.diffusion_model.",
    "first_stage_model.",
    "cond_stage_model.transformer.text_model.",
)
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
TOP = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


def to_single_file(base) -> dict[str, torch.Tensor]:
    """The weights of a diffusers pipeline by their original names."""
    unet = {UNET + _unet_name(k): v for k, v in base.unet.state_dict().items()}
    vae = dict(_vae_entry(k, v) for k, v in base.vae.state_dict().items())
    text = {
        TEXT + k.removeprefix("text_model."): v for k, v in base.text_encoder.state_dict().items()
    }
    return {name: value.contiguous() for name, value in (unet | vae | text).items()}


def _unet_name(key: str) -> str:
    place, _, end = key.rpartition(".")
    if place in TOP:
        return f"{TOP[place]}.{end}"
    if found := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", key):
        kind, number, rest = found.groups()
        index = 1 if kind == "attentions" else 2 * int(number)
        return f"middle_block.{index}.{_inner(kind, rest)}"
    found = re.match(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.*)", key)
    side, level, kind, number, rest = found.groups()
    return _block_name(side, int(level), kind, int(number), rest)


def _block_name(side: str, level: int, kind: str, number: int, rest: str) -> str:
    if kind == "downsamplers":
        return f"input_blocks.{3 * level + 3}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        return f"output_blocks.{3 * level + 2}.{1 if level == 0 else 2}.{rest}"
    block = 3 * level + number + (1 if side == "down" else 0)
    name = "input_blocks" if side == "down" else "output_blocks"
    return f"{name}.{block}.{1 if kind == 'attentions' else 0}.{_inner(kind, rest)}"


def _inner(kind: str, rest: str) -> str:
    if kind == "attentions":
        return rest
    place, _, end = rest.rpartition(".")
    return f"{RESNET[place]}.{end}"


def _vae_entry(key: str, value: torch.Tensor) -> tuple[str, torch.Tensor]:
    key = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", key)
    if "mid_block.attentions.0" in key:
        head, _, rest = key.partition("mid_block.attentions.0.")
        place, _, end = rest.rpartition(".")
        value = value[:, :, None, None] if end == "weight" and value.ndim == 2 else value
        return f"{VAE}{head}mid.attn_1.{VAE_ATTENTION[place]}.{end}", value
    key = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", key)
    key = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", key)
    up = lambda m: f"up.{3 - int(m[1])}"  # noqa: E731
    key = re.sub(r"up_blocks\.(\d)(?=\.resnets)", up, key).replace(".resnets.", ".block.")
    key = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"{up(m)}.upsample", key)
    return VAE + key.replace("conv_norm_out", "norm_out").replace(
        "conv_shortcut", "nin_shortcut"
    ), value
