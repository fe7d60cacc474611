"""ComfyUI's pictures and masks <-> those of the pipeline.

An IMAGE is a float tensor (B, H, W, 3) in 0...1, a MASK one of (B, H, W).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from facestudio.errors import BadOption

if TYPE_CHECKING:
    from torch import Tensor


def to_pil(images: Tensor) -> list[Image.Image]:
    """The pictures of an IMAGE; raises BadOption for another shape."""
    if images.ndim != 4 or images.shape[-1] < 3:
        raise BadOption(f"an IMAGE is (B, H, W, 3); this one is {tuple(images.shape)}")
    levels = (images[..., :3].detach().cpu().float().clamp(0, 1) * 255).round()
    return [Image.fromarray(array) for array in levels.numpy().astype(np.uint8)]


def to_image(pictures: Sequence[Image.Image]) -> Tensor:
    """An IMAGE of pictures of one size."""
    import torch

    arrays = [np.asarray(picture.convert("RGB"), dtype=np.float32) / 255 for picture in pictures]
    return torch.from_numpy(np.stack(arrays))


def to_regions(masks: Tensor) -> list[np.ndarray]:
    """A region for each mask of a MASK: where it is over one half, float32 (H, W)."""
    batch = masks[None] if masks.ndim == 2 else masks
    return list((batch.detach().cpu().float() > 0.5).numpy().astype(np.float32))
