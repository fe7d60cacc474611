"""The face map: what a face looks like, laid out where its parts are.

A recogniser's vector says who somebody is but not where eyes and mouth are, and a small U-Net
would need millions of pictures to draw a face from it. The map says it: a small network looks at
the face in the layout of a portrait and leaves a few numbers for each position of the latents.
They stand beside the noisy latents at the U-Net's input. The network learns together with the
U-Net, to draw *other* photos of the person and drawings of them as well as the photo itself, so
that it keeps what belongs to the person. Outside the face the map is zero: hair, clothes and
background are the style's.
"""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from facestudio.faces.align import portrait_face_cells

__all__ = ["FaceMapper"]


class FaceMapper(ModelMixin, ConfigMixin):
    """Features (B, features, cells, cells) of faces in portrait layout; zero outside the face.

    It sees `channels` numbers of each patch of `factor` × `factor` pixels: the latents of a linear
    patch encoder, whose projection it holds (`take_projection`).
    """

    @register_to_config
    def __init__(
        self,
        channels: int = 16,
        factor: int = 8,
        cells: int = 16,
        width: int = 64,
        features: int = 12,
    ) -> None:
        super().__init__()
        self.cells, self.factor, self.features = cells, factor, features
        self.project = nn.Conv2d(3, channels, factor, stride=factor).requires_grad_(False)
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.last = nn.Conv2d(width, features, 1)
        face = torch.from_numpy(portrait_face_cells(cells))
        self.register_buffer("face", face, persistent=False)

    @property
    def numbers(self) -> int:
        """How many numbers the map of one face has."""
        return self.features * self.cells**2

    def forward(self, latents: Tensor) -> Tensor:
        """Features of portraits' latents (B, channels, cells, cells); zero for zero latents."""
        given = latents.flatten(1).any(1).to(latents)[:, None, None, None]
        x = self.first(latents * self.face)
        x = self.second(F.silu(x))
        return self.last(F.silu(x)) * self.face * given

    def of_pixels(self, pixels: Tensor) -> Tensor:
        """Features of portraits (B, 3, H, W) in -1...1, H = W = cells * factor."""
        return self(self.project(pixels))

    def take_projection(self, mean: Tensor, basis: Tensor, scale: Tensor) -> None:
        """Hold the projection of a PatchCodec: x -> basis (x - mean) / scale for each patch."""
        rows = basis / scale[:, None]
        with torch.no_grad():
            self.project.weight.copy_(rows.unflatten(1, (3, self.factor, self.factor)))
            self.project.bias.copy_(-rows @ mean)  # type: ignore[union-attr]
