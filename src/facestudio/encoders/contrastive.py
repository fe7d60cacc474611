"""What trains the towers: pictures and their captions are told from the others of a batch.

Source: CLIP (Radford et al., arXiv 2103.00020, figure 3), with one change. In small sets the same
caption stands under many pictures; counting those pairs as negatives would teach that a caption
does not fit its own picture. Pairs of equal captions therefore share the target.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facestudio.errors import BadOption

START_TEMPERATURE = 0.07
MAX_SCALE = 100.0


class LogitScales(nn.Module):
    """One learned factor on the cosines per tower: () -> (n_towers,), at most 100 as in CLIP."""

    def __init__(self, n_towers: int) -> None:
        super().__init__()
        self.log_scales = nn.Parameter(torch.full((n_towers,), -math.log(START_TEMPERATURE)))

    def forward(self) -> Tensor:
        return self.log_scales.clamp(max=math.log(MAX_SCALE)).exp()


def number_captions(captions: Sequence[str]) -> Tensor:
    """Numbers (B,) that are equal where two captions are the same text."""
    numbers = {caption: number for number, caption in enumerate(dict.fromkeys(captions))}
    return torch.tensor([numbers[caption] for caption in captions])


def contrastive_loss(
    image_vectors_per_tower: Sequence[Tensor],
    text_vectors_per_tower: Sequence[Tensor],
    logit_scales: Tensor,
    caption_numbers: Tensor | None = None,
) -> Tensor:
    """The mean over towers of CLIP's loss, a scalar.

    Shapes: vectors (B, D_i) per tower, of any length (only their direction counts); `logit_scales`
    (n_towers,), factors, not their logarithms; `caption_numbers` (B,) as `number_captions` gives
    them, without them all captions count as different. Raises BadOption where shapes do not fit.
    """
    if not len(image_vectors_per_tower) == len(text_vectors_per_tower) == len(logit_scales) > 0:
        raise BadOption(
            f"{len(image_vectors_per_tower)} image towers, {len(text_vectors_per_tower)} text "
            f"towers and {len(logit_scales)} scales; their numbers must be equal"
        )
    targets = _targets(caption_numbers, image_vectors_per_tower[0])
    towers = zip(image_vectors_per_tower, text_vectors_per_tower, logit_scales, strict=True)
    losses = [_tower_loss(image, text, scale, targets) for image, text, scale in towers]
    return torch.stack(losses).mean()


def _targets(caption_numbers: Tensor | None, images: Tensor) -> Tensor:
    """Rows (B, B) that sum to 1, shared equally among the pairs of the same caption."""
    count = len(images)
    if caption_numbers is None:
        return torch.eye(count, device=images.device)
    if caption_numbers.shape != (count,):
        raise BadOption(f"{tuple(caption_numbers.shape)} caption numbers for {count} pictures")
    numbers = caption_numbers.to(images.device)
    same = (numbers[:, None] == numbers[None, :]).float()
    return same / same.sum(dim=1, keepdim=True)


def _tower_loss(image: Tensor, text: Tensor, scale: Tensor, targets: Tensor) -> Tensor:
    if image.shape != text.shape:
        raise BadOption(
            f"image vectors {tuple(image.shape)} and text vectors {tuple(text.shape)} of one "
            "tower must have the same shape"
        )
    logits = scale * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T  # (B, B)
    to_text = F.cross_entropy(logits, targets)
    return (to_text + F.cross_entropy(logits.T, targets)) / 2
