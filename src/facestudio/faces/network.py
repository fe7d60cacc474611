"""The identity network: an aligned face crop becomes one identity vector.

A small residual network (He et al., arXiv 1512.03385) over a 112 px crop whose eyes lie on
the ArcFace template (Deng et al., arXiv 1801.07698). Two heads share its trunk:

- `pooled`: what a recogniser gives, unit length, compared by cosine;
- `grid`: 4 x 4 cells of features that keep *where* things are (fringe, glasses, beard,
  shape of the jaw), each number about zero mean and unit variance over the training faces.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CROP_PX = 112
GRID_CELLS = 4


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions with batch norm beside a shortcut; halves the map if `stride` is 2."""

    def __init__(self, width_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.norm_in = nn.BatchNorm2d(width_in)
        self.conv1 = nn.Conv2d(width_in, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.act = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or width_in != width:
            self.shortcut = nn.Conv2d(width_in, width, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act(self.norm1(self.conv1(self.norm_in(x))))
        return self.norm2(self.conv2(h)) + self.shortcut(x)


class IdentityNetwork(nn.Module):
    """Turn aligned crops (B, 3, 112, 112) in -1...1 into vectors (B, pooled_dim + 16 * grid_dim).

    The first `pooled_dim` numbers are the recogniser's vector, unit length; the rest is the grid.
    """

    def __init__(
        self,
        widths: tuple[int, ...] = (48, 96, 192),
        depths: tuple[int, ...] = (2, 3, 2),
        pooled_dim: int = 512,
        grid_dim: int = 32,
    ) -> None:
        super().__init__()
        self.pooled_dim = pooled_dim
        self.grid_dim = grid_dim
        self.stem = nn.Conv2d(3, widths[0], 7, stride=4, padding=3, bias=False)  # 28 x 28
        blocks: list[nn.Module] = []
        width_in = widths[0]
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            for block in range(depth):
                blocks.append(ResidualBlock(width_in, width, 2 if stage and not block else 1))
                width_in = width
        self.trunk = nn.Sequential(*blocks)  # 7 x 7
        self.norm = nn.BatchNorm2d(width_in)
        self.squeeze = nn.Conv2d(width_in, 64, 1, bias=False)
        self.pool = nn.Linear(64 * 49, pooled_dim)
        self.grid = nn.Conv2d(width_in, grid_dim, 1)
        self.grid_norm = nn.BatchNorm1d(grid_dim * GRID_CELLS**2, affine=False)

    def forward(self, crops: Tensor) -> Tensor:
        features = self.norm(self.trunk(self.stem(crops)))  # (B, width, 7, 7)
        pooled = F.normalize(self.pool(self.squeeze(features).flatten(1)), dim=-1)
        cells = F.adaptive_avg_pool2d(self.grid(features), GRID_CELLS)  # (B, grid_dim, 4, 4)
        return torch.cat([pooled, self.grid_norm(cells.flatten(1))], dim=-1)
