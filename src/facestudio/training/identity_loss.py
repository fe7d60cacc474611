"""How unlike its person a predicted picture is, by a recogniser that gradients flow through.

Both pictures are cropped as the recogniser wants it and compared; latents are decoded first. They
must show portraits in the layout of `faces.align`.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facestudio.codec.patch import PatchCodec
from facestudio.faces.align import ARCFACE_EYES, CROP_PX, align_points, portrait_eyes
from facestudio.training.onnx_network import OnnxNetwork


class PixelIdentityLoss(nn.Module):
    """1 - cosine of a recogniser's vectors of two faces: 0 the same face, about 1 strangers.

    teacher: an ONNX file fed with pixels in -1...1.
    """

    def __init__(self, teacher: Path) -> None:
        super().__init__()
        self.teacher = OnnxNetwork(teacher).eval().requires_grad_(False)

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        """The loss (B,) of made portraits (B, 3, H, W) against real ones."""
        with torch.no_grad():
            wanted = self.teacher(crop_faces(real))
        return 1 - F.cosine_similarity(self.teacher(crop_faces(made)), wanted)


class IdentityLoss(nn.Module):
    """The same between latents, which the codec decodes; it may refine what it decodes."""

    def __init__(self, teacher: Path, codec: PatchCodec) -> None:
        super().__init__()
        self.of_pixels = PixelIdentityLoss(teacher)
        self.codec = codec.eval().requires_grad_(False)

    def forward(self, predicted: Tensor, reference: Tensor) -> Tensor:
        """The loss (B,) of predicted latents (B, C, h, w) against a photo's latents."""
        with torch.no_grad():
            real = self.codec.decode_unclamped(reference)
        return self.of_pixels(self.codec.decode_unclamped(predicted), real)


def crop_faces(pixels: Tensor) -> Tensor:
    """The recogniser's crops (B, 3, 112, 112) in -1...1 of square portraits (B, 3, H, W)."""
    grid = crop_grid(pixels.shape[-1]).to(pixels).expand(len(pixels), -1, -1, -1)
    return F.grid_sample(pixels, grid, align_corners=False, padding_mode="border").clamp(-1, 1)


@functools.cache
def crop_grid(side: int) -> Tensor:
    """Where in a portrait of `side` pixels the crop's pixels lie: (1, 112, 112, 2) in -1...1."""
    y, x = np.mgrid[:CROP_PX, :CROP_PX] + 0.5
    pixels = np.stack([x.ravel(), y.ravel()], 1)
    points = align_points(pixels, ARCFACE_EYES * CROP_PX, portrait_eyes(side))
    scaled = points.reshape(1, CROP_PX, CROP_PX, 2) / side * 2 - 1
    return torch.from_numpy(scaled).float()
