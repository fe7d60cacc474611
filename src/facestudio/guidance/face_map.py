"""Face maps of people, each put where the person stands on the canvas."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def lay_out(maps: Tensor, masks: Tensor | None, size: tuple[int, int]) -> Tensor:
    """One map (1, F, h, w) of the maps (P, F, cells, cells) of people on a canvas of `size` (h, w).

    Each is the largest square portrait about the middle of the person's region (masks (P, h, w);
    None: the first person's, on the whole canvas), and nothing of it reaches out of the region.
    """
    canvas = maps.new_zeros(1, maps.shape[1], *size)
    if masks is None:
        place(canvas[0], maps[0], torch.ones(size, dtype=torch.bool, device=maps.device))
        return canvas
    for own, mask in zip(maps, masks, strict=True):
        if bool(mask.any()):
            place(canvas[0], own, mask != 0)
    return canvas


def place(canvas: Tensor, own: Tensor, region: Tensor) -> None:
    """Write one person's map (F, cells, cells) into the canvas (F, h, w) where region (h, w) is."""
    rows, columns = region.any(1).nonzero()[:, 0], region.any(0).nonzero()[:, 0]
    top, height = int(rows[0]), int(rows[-1] - rows[0]) + 1
    left, width = int(columns[0]), int(columns[-1] - columns[0]) + 1
    side = min(height, width)
    top, left = top + (height - side) // 2, left + (width - side) // 2
    square = (..., slice(top, top + side), slice(left, left + side))
    fitted = own if side == own.shape[-1] else resize(own, side)
    canvas[square] = torch.where(region[square[1:]], fitted, canvas[square])


def resize(own: Tensor, side: int) -> Tensor:
    """The map (F, cells, cells) at (F, side, side)."""
    smaller = side < own.shape[-1]
    resized = F.interpolate(
        own[None], (side, side), mode="bilinear", align_corners=False, antialias=smaller
    )
    return resized[0]
