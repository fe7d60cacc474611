"""The layers of a network as `packed.py` lays them out: each stands for one of diffusers'."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention import BasicTransformerBlock, FeedForward
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from facestudio.guidance.attention import attend_by_region, split_heads
from facestudio.pipeline.long_attention import attend

# Named down to the overload: torch prints every tensor of a call into the error of one not meant.
KERNELS = torch.ops.mkldnn
CONVOLVE, CONVOLVE_ONTO = (
    KERNELS._convolution_pointwise.default,
    KERNELS._convolution_pointwise.binary,
)
MULTIPLY, MULTIPLY_ONTO = KERNELS._linear_pointwise.default, KERNELS._linear_pointwise.binary
SMALL = 2**15  # numbers in a picture's features; measured


class Packed(nn.Module):
    """Stands for a layer, under the names of its weights. `plain` is the layer it stands for."""

    def __init__(self, plain: nn.Module) -> None:
        super().__init__()
        self._plain = (plain,)  # in a tuple, so that it is no submodule
        self.train(False)

    def restore(self) -> nn.Module:
        """The layer that this stands for, with its weights."""
        for child in self.modules():
            if isinstance(child, PackedWeight):
                child.fill()
        return self._plain[0]


class PackedWeight(Packed):
    """A layer with one weight in oneDNN's blocks; the layer it stands for is left without."""

    blocks: tuple[Tensor, ...]

    def keep(self, *blocks: Tensor) -> None:
        """Hold on to the weight's blocks in place of the layer's weight."""
        self.blocks = blocks
        self._plain[0].weight.data = torch.empty(0, dtype=blocks[0].dtype)

    def dense(self) -> Tensor:
        """The weight as it was."""
        return torch.cat([block.to_dense() for block in self.blocks])

    def fill(self) -> None:
        """Give the layer its weight back."""
        self._plain[0].weight.data = self.dense()

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[f"{prefix}weight"] = self.dense()


class PackedConv2d(PackedWeight):
    """A convolution, with another picture added to its result where one is given."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv)
        self.bias = conv.bias
        sizes = [list(size) for size in (conv.padding, conv.stride, conv.dilation)]
        self.sizes = (*sizes, conv.groups)
        self.keep(KERNELS._reorder_convolution_weight(conv.weight.detach(), *self.sizes))

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        x, (weight,) = x.contiguous(memory_format=torch.channels_last), self.blocks
        if added is None:
            return CONVOLVE(x, weight, self.bias, *self.sizes, "none", [], "")
        added = added.contiguous(memory_format=torch.channels_last)
        return CONVOLVE_ONTO(x, added, weight, self.bias, *self.sizes, "add", 1.0, None, [], None)


class PackedPointwise(PackedWeight):
    """A convolution of 1×1, as a product: packed as a convolution it took 50 times as long."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__(conv)
        self.bias = conv.bias
        self.keep(KERNELS._reorder_linear_weight(conv.weight.detach().flatten(1)))

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        rows, (weight,) = _to_rows(x), self.blocks
        if added is None:
            made = MULTIPLY(rows, weight, self.bias, "none", [], "")
        else:
            made = MULTIPLY_ONTO(rows, _to_rows(added), weight, self.bias, "add")
        return made.permute(0, 3, 1, 2)

    def dense(self) -> Tensor:
        """The weight as it was."""
        return super().dense()[:, :, None, None]


class PackedLinear(PackedWeight):
    """A linear layer, with something added to its result where it is given."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear)
        self.bias = linear.bias
        self.keep(KERNELS._reorder_linear_weight(linear.weight.detach()))

    def forward(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        (weight,) = self.blocks
        if added is None:
            return MULTIPLY(x, weight, self.bias, "none", [], "")
        return MULTIPLY_ONTO(x, added, weight, self.bias, "add")


class PackedGate(PackedWeight):
    """The linear layer of a GEGLU and its gate: (x V + c) GELU(x W + b), Shazeer 2002.05202."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__(linear)
        self.bias = linear.bias
        halves = linear.weight.detach().chunk(2)
        self.keep(*(KERNELS._reorder_linear_weight(half.contiguous()) for half in halves))

    def forward(self, x: Tensor) -> Tensor:
        (value, gate), (c, b) = self.blocks, self.bias.chunk(2)
        opened = MULTIPLY(x, gate, b, "gelu", [], "none")
        return MULTIPLY_ONTO(x, opened, value, c, "mul")


class PackedNorm(Packed):
    """A group norm. torch is slow at small pictures that lie channels-last: those it gets plain."""

    def __init__(self, plain: nn.GroupNorm) -> None:
        super().__init__(plain)
        self.weight, self.bias = plain.weight, plain.bias
        self.groups, self.eps = plain.num_groups, plain.eps

    def forward(self, x: Tensor) -> Tensor:
        ready = x.contiguous() if x[0].numel() <= SMALL else x
        return F.group_norm(ready, self.groups, self.weight, self.bias, self.eps)


class PackedGEGLU(Packed):
    """A GEGLU."""

    def __init__(self, plain: GEGLU) -> None:
        super().__init__(plain)
        self.proj = PackedGate(plain.proj)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class PackedResnet(Packed):
    """A residual block of convolutions. shares_halves: see `share_first`."""

    shares_halves = False

    def __init__(self, plain: ResnetBlock2D) -> None:
        super().__init__(plain)
        self.norm1, self.norm2 = PackedNorm(plain.norm1), PackedNorm(plain.norm2)
        self.conv1, self.conv2 = PackedConv2d(plain.conv1), PackedConv2d(plain.conv2)
        self.time_emb_proj = plain.time_emb_proj
        short = plain.conv_shortcut
        self.conv_shortcut = None if short is None else pack_convolution(short)

    def forward(self, x: Tensor, temb: Tensor | None = None) -> Tensor:
        half = half_of(x) if self.shares_halves else None
        if half is None:
            return self._make(x, temb)
        return torch.cat([self._make(half, None if temb is None else temb[: len(half)])] * 2)

    def _make(self, x: Tensor, temb: Tensor | None) -> Tensor:
        hidden = self.conv1(F.silu(self.norm1(x), inplace=True))
        if temb is not None:
            hidden += self.time_emb_proj(F.silu(temb))[:, :, None, None]
        hidden = F.silu(self.norm2(hidden), inplace=True)
        return self.conv2(hidden, x if self.conv_shortcut is None else self.conv_shortcut(x))


class PackedAttention(Packed):
    """Self-attention, or attention to a guidance by region, with what is added to its result."""

    norm_cross = norm_k = None  # as `make_keys_and_values` asks

    def __init__(self, plain: Attention) -> None:
        super().__init__(plain)
        self.heads = plain.heads
        self.to_q = PackedLinear(plain.to_q)
        crossing = plain.is_cross_attention
        keep = _as_it_is if crossing else PackedLinear  # keys of a guidance are made but once
        self.to_k, self.to_v = keep(plain.to_k), keep(plain.to_v)
        self.to_out = nn.ModuleList([PackedLinear(plain.to_out[0])])

    def forward(
        self, x: Tensor, guidance: Any = None, encoder_hidden_states: Tensor | None = None
    ) -> Tensor:
        return self.to_out[0](self._mix(x, guidance, encoder_hidden_states))

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        """The residual with self-attention over x added."""
        return self.to_out[0](self._mix(x, None, None), residual)

    def _mix(self, x: Tensor, guidance: Any, told: Tensor | None) -> Tensor:
        query = split_heads(self.to_q(x), self.heads)
        if guidance is not None:
            mixed = attend_by_region(self, query, guidance)
        else:
            source = x if told is None else told
            key, value = (split_heads(make(source), self.heads) for make in (self.to_k, self.to_v))
            mixed = attend(query, key, value)
        return mixed.transpose(1, 2).flatten(2)


class PackedFeedForward(Packed):
    """The gated layer of a transformer block, added to what is given."""

    def __init__(self, plain: FeedForward) -> None:
        super().__init__(plain)
        gate, _, out = plain.net
        self.net = nn.ModuleList([PackedGEGLU(gate), nn.Identity(), PackedLinear(out)])

    def forward(self, x: Tensor, added: Tensor) -> Tensor:
        gate, _, out = self.net
        result: Tensor = out(gate(x), added)
        return result


class PackedBlock(Packed):
    """A transformer block: self-attention (`look`), attention to the guidance, a gated layer."""

    def __init__(self, plain: BasicTransformerBlock) -> None:
        super().__init__(plain)
        self.norm1, self.norm2, self.norm3 = plain.norm1, plain.norm2, plain.norm3
        self.attn1, self.attn2 = PackedAttention(plain.attn1), PackedAttention(plain.attn2)
        self.ff = PackedFeedForward(plain.ff)

    def look(self, x: Tensor) -> Tensor:
        """x with self-attention added."""
        return self.attn1.add_to(x, self.norm1(x))

    def forward(self, x: Tensor, told: Tensor | None, guidance: Any) -> Tensor:
        """What comes after `look`."""
        x = x + self.attn2(self.norm2(x), guidance=guidance, encoder_hidden_states=told)
        return self.ff(self.norm3(x), x)


class PackedTransformer(Packed):
    """Transformer blocks over the positions of a picture, added to it.

    shares_halves: see `share_first`.
    """

    shares_halves = False

    def __init__(self, plain: Transformer2DModel) -> None:
        super().__init__(plain)
        self.norm = PackedNorm(plain.norm)
        self.proj_in, self.proj_out = map(pack_convolution, (plain.proj_in, plain.proj_out))
        self.transformer_blocks = nn.ModuleList(map(PackedBlock, plain.transformer_blocks))

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        cross_attention_kwargs: dict[str, Any] | None = None,
        **_: Any,
    ) -> tuple[Tensor]:
        guidance = (cross_attention_kwargs or {}).get("guidance")
        size = hidden_states.shape[2:]
        half = half_of(hidden_states) if self.shares_halves else None
        x = self._enter(hidden_states) if half is None else torch.cat([self._enter(half)] * 2)
        for number, block in enumerate(self.blocks()):
            x = block(block.look(x) if number else x, encoder_hidden_states, guidance)
        x = x.unflatten(1, size).permute(0, 3, 1, 2)  # channels-last as it is
        return (self.proj_out(x, hidden_states),)

    def _enter(self, x: Tensor) -> Tensor:
        """Positions (B, h w, C) of a picture's features, as they look at each other at first."""
        x = self.proj_in(self.norm(x)).permute(0, 2, 3, 1).flatten(1, 2)
        return self.blocks()[0].look(x)

    def blocks(self) -> list[PackedBlock]:
        """The transformer blocks, in their order."""
        return [block for block in self.transformer_blocks if isinstance(block, PackedBlock)]


def pack_convolution(conv: nn.Conv2d) -> PackedWeight:
    """What stands for a convolution."""
    pointwise = conv.kernel_size == conv.stride == (1, 1) and conv.padding == (0, 0)
    return PackedPointwise(conv) if pointwise and conv.groups == 1 else PackedConv2d(conv)


def _to_rows(x: Tensor) -> Tensor:
    """Features (B, C, h, w) as (B, h, w, C), as they lie in memory when they are channels-last."""
    return x.permute(0, 2, 3, 1).contiguous()


def _as_it_is(layer: nn.Module) -> nn.Module:
    return layer


def half_of(x: Tensor) -> Tensor | None:
    """The first half of the rows, if the second is the same."""
    one, two = x.tensor_split(2)
    return one if len(x) > 1 and torch.equal(one, two) else None
