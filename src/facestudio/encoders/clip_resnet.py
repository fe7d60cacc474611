"""OpenAI's ModifiedResNet, the convolutional image tower of CLIP (RN50, RN101, ...).

Three changes to He's residual network (Radford et al., arXiv 2103.00020, section 2.4): a stem of
three convolutions, average pooling before every strided convolution (no aliasing), and attention
instead of the final average pool. Parameter names are those of open_clip's `visual.*`, so that its
files load unchanged.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EXPANSION = 4
TOTAL_STRIDE = 32


class Bottleneck(nn.Module):
    """Three convolutions beside a shortcut: (B, width_in, H, W) -> (B, 4 width, H/s, W/s)."""

    def __init__(self, width_in: int, width: int, stride: int = 1) -> None:
        super().__init__()
        width_out = width * EXPANSION
        self.conv1 = nn.Conv2d(width_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(width, width_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width_out)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or width_in != width_out:
            shortcut: list[tuple[str, nn.Module]] = [
                ("-1", nn.AvgPool2d(stride)),
                ("0", nn.Conv2d(width_in, width_out, 1, bias=False)),
                ("1", nn.BatchNorm2d(width_out)),
            ]
            self.downsample = nn.Sequential(OrderedDict(shortcut))

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        h = F.relu(self.bn2(self.conv2(h)))
        h = self.bn3(self.conv3(self.avgpool(h)))
        return F.relu(h + self.downsample(x))


class AttentionPool2d(nn.Module):
    """Pool a square map (B, width, n, n) by one attention whose query is the mean: (B, output)."""

    def __init__(self, cells: int, width: int, heads: int, output_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.randn(cells**2 + 1, width) / width**0.5)
        self.k_proj = nn.Linear(width, width)
        self.q_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, output_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).transpose(1, 2)  # (B, n * n, width)
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + self.positional_embedding
        query = self._split(self.q_proj(x[:, :1]))  # (B, heads, 1, width / heads)
        key, value = self._split(self.k_proj(x)), self._split(self.v_proj(x))
        pooled = F.scaled_dot_product_attention(query, key, value)
        return self.c_proj(pooled.flatten(1))  # one query: (B, heads * width / heads)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class ModifiedResNet(nn.Module):
    """Turn normalised pictures (B, 3, R, R) of R = `input_resolution` into vectors (B, output_dim).

    `layers` are the blocks of each of the four stages; `input_resolution` is a multiple of 32;
    `heads` divides 32 * `width`.
    """

    def __init__(
        self,
        layers: tuple[int, ...],
        output_dim: int,
        heads: int,
        input_resolution: int = 224,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.output_dim = output_dim
        self.input_resolution = input_resolution
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(2)
        self.layer1 = _stage(width, width, layers[0], stride=1)
        self.layer2 = _stage(width * 4, width * 2, layers[1], stride=2)
        self.layer3 = _stage(width * 8, width * 4, layers[2], stride=2)
        self.layer4 = _stage(width * 16, width * 8, layers[3], stride=2)
        cells = input_resolution // TOTAL_STRIDE
        self.attnpool = AttentionPool2d(cells, width * 32, heads, output_dim)
        self._start_weights()

    @classmethod
    def from_open_clip(cls, state: Mapping[str, Tensor]) -> ModifiedResNet:
        """A tower of the sizes and weights in a CLIP checkpoint (names with or without `visual.`).

        Raises RuntimeError (torch's) where names or shapes do not fit. OpenAI's heads are always
        64 numbers wide.
        """
        weights = {name.removeprefix("visual."): value for name, value in state.items()}
        own = ("conv", "bn", "layer", "attnpool")
        weights = {name: value for name, value in weights.items() if name.startswith(own)}
        width = weights["layer1.0.conv1.weight"].shape[0]
        cells = round((weights["attnpool.positional_embedding"].shape[0] - 1) ** 0.5)
        tower = cls(
            layers=tuple(_count_blocks(weights, stage) for stage in range(1, 5)),
            output_dim=weights["attnpool.c_proj.weight"].shape[0],
            heads=width * 32 // 64,
            input_resolution=cells * TOTAL_STRIDE,
            width=width,
        )
        tower.load_state_dict(weights)
        return tower

    def forward(self, pixels: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(pixels)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.avgpool(F.relu(self.bn3(self.conv3(x))))  # (B, width, R/4, R/4)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))  # (B, 32 width, R/32, R/32)
        return self.attnpool(x)

    def _start_weights(self) -> None:
        """OpenAI's start: every block begins as its shortcut, the pool's projections are narrow."""
        for module in self.modules():
            if isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)
        pool = self.attnpool
        for linear in (pool.q_proj, pool.k_proj, pool.v_proj, pool.c_proj):
            nn.init.normal_(linear.weight, std=linear.in_features**-0.5)


def _stage(width_in: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(width_in, width, stride)
    rest = [Bottleneck(width * EXPANSION, width) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)


def _count_blocks(weights: Mapping[str, Tensor], stage: int) -> int:
    names = (name.split(".") for name in weights if name.startswith(f"layer{stage}."))
    return len({name[1] for name in names})
