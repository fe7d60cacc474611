"""Critics: does a picture look as sharp and as drawn as real ones, do latents look like real ones?

Source: Isola et al., patch discriminators (arXiv 1611.07004), with the hinge loss of Lim & Ye
(arXiv 1705.02894), matched features (arXiv 1606.03498), conditions by projection (Miyato & Koyama,
arXiv 1802.05637), and a pull that is weighed by gradients (Esser et al., arXiv 2012.09841).

Neither normalises spectra: a critic then learns in half the steps. The critic of latents
normalises groups, and its verdicts move GAIN times as far in a step as their weights alone would.
The critic of pixels normalises nothing, since how strong detail is says most, and is shown how
brightness bends beside the pixels: what made pictures lack is a hundredth of what both share, and
without help it knew nothing after a thousand steps. With it thirty are enough.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

SLOPE = 0.2
GROUPS = 8
GAIN = 5.0
BEND_GAIN = 2.0
LAPLACIAN = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])
LR_ALONE = 1e-3  # of a critic that learns alone


class PatchCritic(nn.Module):
    """Verdicts (B, 1, H/factor, W/factor), high for real, on pixels (B, 3, H, W) of latents.

    It is told the style (B, style_dim) that the picture is meant to be in. `pace`: its learning
    rate over the decoder's.
    """

    pace = 1.0

    def __init__(self, channels: int, style_dim: int, factor: int = 8, width: int = 48) -> None:
        super().__init__()
        halvings = factor.bit_length() - 1
        widths = [2 * 3, *(width * min(2**i, 4) for i in range(halvings))]
        self.stages = nn.ModuleList(
            nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in itertools.pairwise(widths)
        )
        self.join = nn.Conv2d(widths[-1] + channels, widths[-1], 3, padding=1)
        self.verdict = nn.Conv2d(widths[-1], 1, 1)
        self.wanted = nn.Linear(style_dim, widths[-1])

    def forward(
        self, pixels: Tensor, latents: Tensor, style: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The verdicts, and the maps that they were reached by, fine to coarse."""
        maps, x = [], torch.cat([pixels, BEND_GAIN * bends_of(pixels)], dim=1)
        for stage in self.stages:
            x = F.leaky_relu(stage(x), SLOPE)
            maps.append(x)
        x = F.leaky_relu(self.join(torch.cat([x, latents], dim=1)), SLOPE)
        return self.verdict(x) + fit(x, self.wanted(style)), [*maps, x]

    def judge(self, pixels: Tensor, latents: Tensor, style: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The same, with gradients for the pixels alone: the critic's weights get none."""
        verdict: tuple[Tensor, list[Tensor]] = functional_call(
            self, fixed_weights(self), (pixels, latents, style)
        )
        return verdict


class LatentCritic(nn.Module):
    """Verdicts (B, N), high for real, on latents (B, C, h, w) of a style (B, S).

    One for every position at three scales, so that both detail and the whole are judged.
    Sharpens what a generator predicts in few steps: Sauer et al., arXiv 2311.17042, in latents.
    `pace`: its learning rate over the generator's.
    """

    pace = 1.0

    def __init__(self, channels: int, style_dim: int, width: int = 64) -> None:
        super().__init__()
        sizes = [(channels, width, 1), (width, 2 * width, 2), (2 * width, 2 * width, 2)]
        self.scales = nn.ModuleList(_scale(*size) for size in sizes)
        self.verdicts = nn.ModuleList(nn.Conv2d(w, 1, 1) for _, w, _ in sizes)
        self.wanted = nn.ModuleList(nn.Linear(style_dim, w) for _, w, _ in sizes)

    def forward(self, latents: Tensor, style: Tensor) -> Tensor:
        found, x = [], latents
        for scale, verdict, wanted in zip(self.scales, self.verdicts, self.wanted, strict=True):
            x = scale(x)
            found.append(GAIN * (verdict(x) + fit(x, wanted(style))).flatten(1))
        return torch.cat(found, dim=1)

    def judge(self, latents: Tensor, style: Tensor) -> Tensor:
        """The same, with gradients for the latents alone: the critic's weights get none."""
        verdict: Tensor = functional_call(self, fixed_weights(self), (latents, style))
        return verdict


def _scale(channels: int, width: int, stride: int) -> nn.Sequential:
    """Two convolutions, the first of which may halve the sides."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3 if stride == 1 else 4, stride, padding=1),
        nn.GroupNorm(GROUPS, width),
        nn.LeakyReLU(SLOPE),
        nn.Conv2d(width, width, 3, padding=1),
        nn.LeakyReLU(SLOPE),
    )


def bends_of(pixels: Tensor) -> Tensor:
    """How each channel bends at each place of pictures (B, C, H, W), by Laplace's operator."""
    channels = pixels.shape[1]
    kernels = LAPLACIAN.to(pixels).expand(channels, 1, 3, 3)
    padded = F.pad(pixels, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(padded, kernels, groups=channels)


def fit(features: Tensor, wanted: Tensor) -> Tensor:
    """How well features (B, W, h, w) fit what a style wants (B, W), at each place (B, 1, h, w)."""
    return (features * wanted[:, :, None, None]).mean(1, keepdim=True)


def fixed_weights(module: nn.Module) -> dict[str, Tensor]:
    """A module's weights by name, for a call whose gradient passes them by."""
    return {name: weight.detach() for name, weight in module.named_parameters()}


def hinge(real: Tensor, made: Tensor) -> Tensor:
    """The critic's loss of its verdicts on real and on made pictures; 2 where it knows nothing."""
    return F.relu(1 - real).mean() + F.relu(1 + made).mean()


def trust(doubt: Tensor) -> Tensor:
    """How far a critic's verdict counts, 0...1: not at all while it knows nothing (a doubt of 2).

    Where no picture is rebuilt, one who pleases a critic that knows nothing yet is led astray.
    """
    return (2 * (2 - doubt.detach())).clamp(0, 1)


def learn_alone(critic: nn.Module, doubt: Callable[[], Tensor], batches: int, bf16: bool) -> None:
    """Let a fresh critic learn before its verdicts count; doubt(): its loss on the next batch."""
    steps = torch.optim.Adam(critic.parameters(), LR_ALONE, betas=(0.5, 0.99))
    for _ in range(batches):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = doubt()
        steps.zero_grad()
        loss.backward()
        steps.step()


def balance(loss: Tensor, verdict: Tensor, made: Tensor) -> Tensor:
    """How many times as hard as `verdict` a loss pulls at what was made, a scalar."""
    pulls = [torch.autograd.grad(each, made, retain_graph=True)[0] for each in (loss, verdict)]
    return pulls[0].norm() / (pulls[1].norm() + 1e-8)


def map_distance(real: Sequence[Tensor], made: Sequence[Tensor]) -> Tensor:
    """Mean absolute difference of two pictures' maps, each over the real ones' mean size."""
    parts = [
        (a.detach() - b).abs().mean() / (a.detach().abs().mean() + 1e-6)
        for a, b in zip(real, made, strict=True)
    ]
    return torch.stack(parts).mean()
