"""Stable Diffusion 1.5 and its adapters in their true file format, with seeded random weights.

`TINY` has the structure of the real one at widths of a few numbers, `FULL` its true shapes (but
two layers of the image encoder's 32, which are 2.4 GB of the same).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    EulerAncestralDiscreteScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from safetensors.torch import save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)


@dataclass(frozen=True)
class Sizes:
    """Widths of one base model and of what goes with it."""

    px: int
    unet: tuple[int, ...]
    heads: int
    groups: int
    vae: tuple[int, ...]
    text: dict[str, int]
    vision: dict[str, int]
    identity_dim: int
    rank: int


TINY = Sizes(
    px=64,
    unet=(8, 16, 16, 16),
    heads=2,
    groups=4,
    vae=(4, 4, 8, 8),
    text={"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
          "num_attention_heads": 2, "vocab_size": 520, "projection_dim": 16},
    vision={"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "image_size": 32, "patch_size": 8, "projection_dim": 24},
    identity_dim=6,
    rank=2,
)  # fmt: skip
FULL = Sizes(
    px=512,
    unet=(320, 640, 1280, 1280),
    heads=8,
    groups=32,
    vae=(128, 256, 512, 512),
    text={"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
          "num_attention_heads": 12, "vocab_size": 49408, "projection_dim": 768},
    vision={"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 2,
            "num_attention_heads": 16, "image_size": 224, "patch_size": 14,
            "projection_dim": 1024},
    identity_dim=512,
    rank=128,
)  # fmt: skip
SCHEDULER = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "steps_offset": 1,
}


def make_tokenizer(words: int) -> CLIPTokenizer:
    """CLIP's tokenizer over single bytes; the last two of `words` tokens begin and end a text."""
    byte = [chr(i) for i in range(33, 127)] + [chr(i) for i in range(161, 173)]
    byte += [chr(i) for i in range(174, 256)] + [chr(256 + i) for i in range(68)]
    vocab = {piece: i for i, piece in enumerate([*byte, *(f"{b}</w>" for b in byte)])}
    vocab |= {"<|startoftext|>": words - 2, "<|endoftext|>": words - 1}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def make_base(sizes: Sizes, seed: int = 0) -> StableDiffusionPipeline:
    """diffusers' own pipeline, as a folder on the hub gives it."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel(
        sample_size=sizes.px // 8,
        block_out_channels=sizes.unet,
        cross_attention_dim=sizes.text["hidden_size"],
        attention_head_dim=sizes.heads,
        norm_num_groups=sizes.groups,
    )
    vae = AutoencoderKL(
        block_out_channels=sizes.vae,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        layers_per_block=2,
        norm_num_groups=min(sizes.groups, sizes.vae[0]),
        sample_size=sizes.px,
    )
    words = sizes.text["vocab_size"]
    ends = {"bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": words - 1}
    return StableDiffusionPipeline(
        unet=unet.eval(),
        vae=vae.eval(),
        text_encoder=CLIPTextModel(CLIPTextConfig(**sizes.text, **ends)).eval(),
        tokenizer=make_tokenizer(words),
        scheduler=EulerAncestralDiscreteScheduler(**SCHEDULER),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def make_vision(sizes: Sizes, seed: int = 5) -> CLIPVisionModelWithProjection:
    """The image encoder that stands beside IP-Adapter's file."""
    torch.manual_seed(seed)
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes.vision)).eval()


def style_weights(unet: UNet2DConditionModel, sizes: Sizes, seed: int = 1) -> dict:
    """`ip-adapter_sd15`: image_proj and keys and values, as the file nests them."""
    draw = _Drawing(seed)
    width, dim = sizes.text["hidden_size"], sizes.vision["projection_dim"]
    projection = {
        "proj.weight": draw(4 * width, dim),
        "proj.bias": draw(4 * width),
        "norm.weight": 1 + draw(width),
        "norm.bias": draw(width),
    }
    return {"image_proj": projection, "ip_adapter": _keys_and_values(unet, draw)}


def face_weights(unet: UNet2DConditionModel, sizes: Sizes, seed: int = 2) -> dict:
    """`ip-adapter-faceid_sd15`: a small network on the face's vector, and a LoRA besides."""
    draw = _Drawing(seed)
    width, dim = sizes.text["hidden_size"], sizes.identity_dim
    projection = {
        "proj.0.weight": draw(2 * dim, dim),
        "proj.0.bias": draw(2 * dim),
        "proj.2.weight": draw(4 * width, 2 * dim),
        "proj.2.bias": draw(4 * width),
        "norm.weight": 1 + draw(width),
        "norm.bias": draw(width),
    }
    layers = _keys_and_values(unet, draw)
    for number, name in enumerate(unet.attn_processors):
        attn = unet.get_submodule(name.removesuffix(".processor"))
        for place, linear in _linears(attn).items():
            lora = f"{number}.{place}_lora"
            layers[f"{lora}.down.weight"] = draw(sizes.rank, linear.in_features)
            layers[f"{lora}.up.weight"] = draw(linear.out_features, sizes.rank)
    return {"image_proj": projection, "ip_adapter": layers}


def write_adapter(weights: dict, path: Path) -> Path:
    """The weights as a `.bin` or a `.safetensors` file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".bin":
        torch.save(weights, path)
    else:
        flat = {f"{part}.{key}": v for part, table in weights.items() for key, v in table.items()}
        save_file(flat, path)
    return path


def _keys_and_values(unet: UNet2DConditionModel, draw: _Drawing) -> dict:
    found = {}
    for number, name in enumerate(unet.attn_processors):
        if "attn2" in name:
            attn = unet.get_submodule(name.removesuffix(".processor"))
            for part in ("to_k_ip", "to_v_ip"):
                found[f"{number}.{part}.weight"] = draw(*attn.to_k.weight.shape)
    return found


def _linears(attn) -> dict:
    return {"to_q": attn.to_q, "to_k": attn.to_k, "to_v": attn.to_v, "to_out": attn.to_out[0]}


class _Drawing:
    """Normal numbers of the size that keeps what they make at the size of what goes in."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, *shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=self.generator) * shape[-1] ** -0.5
