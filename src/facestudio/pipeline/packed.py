"""Networks laid out for a processor: packed weights, sums and gates inside the products.

oneDNN brings a layer's weights into blocks of its own at every call, which costs up to half of the
layer's time. Here that is done once, pictures stay channels-last throughout, and what follows a
product (a bias, a residual, a gate) is added where it is made. The arithmetic is that of the
network, up to the rounding of sums that are not stored in between; no compiler is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import nn

from facestudio.guidance.attention import RegionAttention
from facestudio.pipeline.packed_layers import (
    Packed,
    PackedResnet,
    PackedTransformer,
    pack_convolution,
)

Network = TypeVar("Network", bound=nn.Module)

PLAIN_NORMS = ("default", "group")  # of a U-Net, and of an autoencoder, which has no time


def can_pack(network: nn.Module) -> bool:
    """Whether packing pays: bf16 on a processor that multiplies it, and nothing to be trained."""
    weight = next(network.parameters())
    return weight.device.type == "cpu" and packs(weight.dtype)


def packs(dtype: torch.dtype) -> bool:
    """Whether packing networks of a dtype pays on this processor."""
    return dtype == torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def pack(network: Network, bring: Callable[[nn.Module], None] | None = None) -> Network:
    """The same network with its layers packed, in place, one by one; a second time does nothing.

    bring: called with each layer before it is packed, to read its weights.
    """
    for name, child in list(network.named_children()):
        if isinstance(child, Packed):
            continue
        if (maker := _maker_for(child)) is not None:
            if bring is not None:
                bring(child)
            setattr(network, name, maker(child))
        else:
            pack(child, bring)
    return network


def share_first(unet: nn.Module) -> None:
    """Let a packed U-Net compute what comes before its first cross-attention once for both halves.

    Until there the two halves of classifier-free guidance are the same, and where they are found to
    be, the one is the other.
    """
    first = unet.get_submodule("down_blocks.0")
    for name in ("resnets", "attentions"):
        layer = next(iter(getattr(first, name, ())), None)
        if isinstance(layer, (PackedResnet, PackedTransformer)):
            layer.shares_halves = True


def unpack(network: Network) -> Network:
    """The network with its layers as they were, in place."""
    for name, child in list(network.named_children()):
        if isinstance(child, Packed):
            setattr(network, name, child.restore())
        else:
            unpack(child)
    return network


def _maker_for(layer: nn.Module) -> Callable[[Any], Packed] | None:
    """What packs this layer as a whole; None where its parts must be looked at, or nothing."""
    if isinstance(layer, ResnetBlock2D):
        return PackedResnet if _is_plain_resnet(layer) else None
    if isinstance(layer, Transformer2DModel):
        return PackedTransformer if _is_plain_transformer(layer) else None
    if isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros":
        return pack_convolution
    return None


def _is_plain_resnet(layer: ResnetBlock2D) -> bool:
    """Whether the block is as Stable Diffusion has it."""
    plain = layer.upsample is None and layer.downsample is None and not layer.skip_time_act
    usual = layer.time_embedding_norm in PLAIN_NORMS and layer.output_scale_factor == 1
    return plain and usual and isinstance(layer.nonlinearity, nn.SiLU)


def _is_plain_transformer(layer: Transformer2DModel) -> bool:
    """Whether the blocks are as Stable Diffusion 1.5 has them."""
    continuous = layer.is_input_continuous and not layer.use_linear_projection
    return continuous and all(map(_is_plain_block, layer.transformer_blocks))


def _is_plain_block(block: Any) -> bool:
    usual = block.norm_type == "layer_norm" and block.pos_embed is None
    if not usual or not isinstance(block.ff.net[0], GEGLU) or block.only_cross_attention:
        return False
    return block.attn2 is not None and all(map(_is_plain_attention, (block.attn1, block.attn2)))


def _is_plain_attention(attn: Attention) -> bool:
    extras = ("group_norm", "spatial_norm", "norm_cross", "norm_q", "norm_k", "add_k_proj")
    return (
        isinstance(attn.processor, RegionAttention)
        and all(getattr(attn, name, None) is None for name in extras)
        and not attn.residual_connection
        and attn.rescale_output_factor == 1
    )
