"""A critic of patches: does a picture look as sharp and as drawn as real ones of these latents?

Source: Isola et al., patch discriminators (arXiv 1611.07004), with the hinge loss of Lim & Ye
(arXiv 1705.02894), spectral normalisation (arXiv 1802.05957), matched features (arXiv 1606.03498).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2


class PatchCritic(nn.Module):
    """Verdicts (B, 1, H/factor, W/factor), high for real, on pixels (B, 3, H, W) of latents."""

    def __init__(self, channels: int, factor: int = 8, width: int = 48) -> None:
        super().__init__()
        halvings = factor.bit_length() - 1
        widths = [3, *(width * min(2**i, 4) for i in range(halvings))]
        self.stages = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1))
            for a, b in itertools.pairwise(widths)
        )
        self.join = spectral_norm(nn.Conv2d(widths[-1] + channels, widths[-1], 3, padding=1))
        self.verdict = spectral_norm(nn.Conv2d(widths[-1], 1, 1))

    def forward(self, pixels: Tensor, latents: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The verdicts, and the maps that they were reached by, fine to coarse."""
        maps, x = [], pixels
        for stage in self.stages:
            x = F.leaky_relu(stage(x), SLOPE)
            maps.append(x)
        x = F.leaky_relu(self.join(torch.cat([x, latents], dim=1)), SLOPE)
        return self.verdict(x), [*maps, x]

    def judge(self, pixels: Tensor, latents: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The same, with gradients for the pixels alone: the critic's weights get none."""
        fixed = {name: weight.detach() for name, weight in self.named_parameters()}
        verdict: tuple[Tensor, list[Tensor]] = functional_call(self, fixed, (pixels, latents))
        return verdict


def hinge(real: Tensor, made: Tensor) -> Tensor:
    """The critic's loss of its verdicts on real and on made pictures; 2 where it knows nothing."""
    return F.relu(1 - real).mean() + F.relu(1 + made).mean()


def map_distance(real: Sequence[Tensor], made: Sequence[Tensor]) -> Tensor:
    """Mean absolute difference of two pictures' maps, each over the real ones' mean size."""
    parts = [
        (a.detach() - b).abs().mean() / (a.detach().abs().mean() + 1e-6)
        for a, b in zip(real, made, strict=True)
    ]
    return torch.stack(parts).mean()
