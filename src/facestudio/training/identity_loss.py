"""How unlike its person a predicted picture is, by a recogniser that gradients flow through.

Both the predicted and the reference latents are decoded, cropped as the recogniser wants it and
compared. Latents must show portraits in the layout of `faces.align`.
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


class IdentityLoss(nn.Module):
    """1 - cosine of a recogniser's vectors of two faces: 0 the same face, about 1 strangers.

    teacher: an ONNX file fed with pixels in -1...1. The codec may refine what it decodes.
    """

    def __init__(self, teacher: Path, codec: PatchCodec) -> None:
        super().__init__()
        self.teacher = OnnxNetwork(teacher).eval().requires_grad_(False)
        self.codec = codec.eval().requires_grad_(False)

    def forward(self, predicted: Tensor, reference: Tensor) -> Tensor:
        """The loss (B,) of predicted latents (B, C, h, w) against a photo's latents."""
        with torch.no_grad():
            wanted = self.teacher(self.crops(reference))
        found = self.teacher(self.crops(predicted))
        return 1 - F.cosine_similarity(found, wanted)

    def crops(self, latents: Tensor) -> Tensor:
        """The recogniser's crops (B, 3, 112, 112) in -1...1 of portraits' latents."""
        pixels = self.codec.decode_linear(latents) + self.codec.refine(latents)
        grid = crop_grid(pixels.shape[-1]).to(pixels)
        grid = grid.expand(len(pixels), -1, -1, -1)
        return F.grid_sample(pixels, grid, align_corners=False, padding_mode="border").clamp(-1, 1)


@functools.cache
def crop_grid(side: int) -> Tensor:
    """Where in a portrait of `side` pixels the crop's pixels lie: (1, 112, 112, 2) in -1...1."""
    y, x = np.mgrid[:CROP_PX, :CROP_PX] + 0.5
    pixels = np.stack([x.ravel(), y.ravel()], 1)
    points = align_points(pixels, ARCFACE_EYES * CROP_PX, portrait_eyes(side))
    scaled = points.reshape(1, CROP_PX, CROP_PX, 2) / side * 2 - 1
    return torch.from_numpy(scaled).float()
