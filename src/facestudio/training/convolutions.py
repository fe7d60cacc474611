"""A training's convolutions on a CPU, in the forms that oneDNN is fastest at.

Features lie channels-last, and a convolution of 1 × 1 is a product. Weights that are not trained
are laid out once, in oneDNN's blocks, for the way forwards and for the way back: the gradient of a
convolution's input is a convolution itself, by the weight mirrored and with its channels
exchanged. torch lays a weight out at every use, which at a small batch and 1,280 channels takes
as long as the convolution.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

KERNELS = torch.ops.mkldnn
ONE, SAME = (1, 1), (1, 1)  # stride and dilation; padding of a 3 × 3 that keeps the size


class FastConvolutions(TorchFunctionMode):
    """While it is entered, convolutions on a CPU compute as this file says; others as torch does.

    `with FastConvolutions(): …` around a forward pass; the backward pass follows it. Keep one for a
    training: it holds the frozen weights' blocks, two further copies of those weights.
    """

    def __init__(self) -> None:
        super().__init__()
        self.packed: dict[tuple[int, torch.dtype], PackedWeight] = {}

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func`, a convolution in its faster form."""
        kwargs = kwargs or {}
        if func is not F.conv2d or args[0].ndim != 4 or args[0].device.type != "cpu":
            return func(*args, **kwargs)
        return self.convolve(*args, **kwargs)

    def convolve(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Tensor:
        """The convolution (B, out, h, w) of x (B, in, H, W), as F.conv2d's."""
        x = x.contiguous(memory_format=torch.channels_last)
        plain = _pair(stride) == _pair(dilation) == ONE and groups == 1
        if plain and weight.shape[2:] == (1, 1) and _pair(padding) == (0, 0):
            return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
        keeps_size = plain and weight.shape[2:] == (3, 3) and _pair(padding) == SAME
        if not keeps_size or not _is_frozen(weight) or (bias is not None and bias.requires_grad):
            return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
        kind = _kind_of(x)
        bias = None if bias is None else bias.to(kind)
        made: Tensor = _FrozenConvolution.apply(x.to(kind), self.pack(weight, kind), bias)
        return made

    def pack(self, weight: Tensor, kind: torch.dtype) -> PackedWeight:
        """The blocks of a frozen weight in a type of number; made anew when it has changed."""
        known = self.packed.get((id(weight), kind))
        if known is None or not known.is_of(weight):
            known = self.packed[id(weight), kind] = PackedWeight.of(weight, kind)
        return known


@dataclass(frozen=True)
class PackedWeight:
    """A 3 × 3 weight (out, in, 3, 3) in oneDNN's blocks, for both ways; and what it was made of."""

    forwards: Tensor
    backwards: Tensor
    source: Tensor
    version: int

    @classmethod
    def of(cls, weight: Tensor, kind: torch.dtype) -> PackedWeight:
        """Lay out a weight."""
        dense = weight.detach().to(kind)
        mirrored = dense.flip(2, 3).transpose(0, 1).contiguous()
        return cls(_to_blocks(dense), _to_blocks(mirrored), weight, weight._version)

    def is_of(self, weight: Tensor) -> bool:
        """Whether these are the blocks of the weight as it is now."""
        return self.source is weight and self.version == weight._version


class _FrozenConvolution(torch.autograd.Function):
    """A 3 × 3 convolution that keeps the size; its input alone has a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: PackedWeight, bias: Tensor | None) -> Tensor:
        ctx.weight = weight
        return _convolve_blocks(x, weight.forwards, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        return _convolve_blocks(gradient, ctx.weight.backwards, None), None, None


def _is_frozen(weight: Tensor) -> bool:
    """Whether it is a layer's own and not trained; a trained one's values for a call are not."""
    return isinstance(weight, nn.Parameter) and not weight.requires_grad


def _to_blocks(weight: Tensor) -> Tensor:
    blocks: Tensor = KERNELS._reorder_convolution_weight(weight.contiguous(), SAME, ONE, ONE, 1)
    return blocks


def _convolve_blocks(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    made: Tensor = KERNELS._convolution_pointwise(
        x, weight, bias, SAME, ONE, ONE, 1, "none", [], ""
    )
    return made


def _kind_of(x: Tensor) -> torch.dtype:
    """The type of number that a convolution of x computes in."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def _pair(size: Any) -> Any:
    return (size, size) if isinstance(size, int) else tuple(size)
