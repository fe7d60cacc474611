"""A recogniser with a face map: all of a person that mini's generator is told."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from facestudio.faces.align import ARCFACE_EYES, CROP_PX, align_portrait
from facestudio.faces.calibration import Calibration
from facestudio.faces.embed import IdentityEncoder, crops_to_pixels

if TYPE_CHECKING:
    from facestudio.faces.face_map import FaceMapper

__all__ = ["MappedEncoder"]


class MappedEncoder:
    """A recogniser with a face map: its vector, then the map's numbers.

    The version ends in a checksum of the map's weights, since identities of another map mean
    nothing to a model.
    """

    def __init__(self, inner: IdentityEncoder, mapper: FaceMapper) -> None:
        self.inner, self.mapper = inner, mapper.eval().requires_grad_(False)
        self.name, self.version = inner.name, f"{inner.version}+{_checksum(mapper)}"
        self.dimension = inner.dimension + mapper.numbers
        self.compare_dim, self.licence = inner.compare_dim, inner.licence
        self.calibration: Calibration | None = inner.calibration

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """float32 (N, dimension) from uint8 crops (N, 112, 112, 3) made by `align_face`."""
        vectors = self.inner.embed(crops)
        if not len(crops):
            return np.zeros((0, self.dimension), np.float32)
        side = self.mapper.cells * self.mapper.factor
        import torch

        portraits = np.stack([_portrait_of_crop(crop, side) for crop in crops])
        pixels = torch.from_numpy(crops_to_pixels(portraits))
        with torch.inference_mode():
            maps = self.mapper.of_pixels(pixels).flatten(1).numpy()
        return np.concatenate([vectors, maps], axis=1)


def _portrait_of_crop(crop: np.ndarray, side: int) -> np.ndarray:
    """The portrait (side, side, 3) that the recogniser's crop shows the middle of."""
    return np.asarray(align_portrait(Image.fromarray(crop), ARCFACE_EYES * CROP_PX, side))


def _checksum(mapper: FaceMapper) -> str:
    mark = 0
    for _, tensor in sorted(mapper.state_dict().items()):
        mark = zlib.crc32(tensor.detach().half().contiguous().numpy().tobytes(), mark)
    return f"{mark:08x}"
