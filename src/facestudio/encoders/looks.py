"""What a style picture is: a photo, an oil painting, a cartoon, told by its texture.

CLIP's towers know what a picture shows better than how it was made: small ones take a pale oil
painting for a photo. `LookReader` sees the texture, and pulls a style towards the mean of the look
that it finds, except for the colours, which stay the picture's own.

Sources: texture as the means and spreads of features (Gatys et al., arXiv 1508.06576); truncation
towards a mean (Karras et al., arXiv 1812.04948), of several means (Mokady et al., arXiv
2202.12211).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

GROUPS = 8
LOOK_PX = 128  # the shorter side of what a LookReader sees
Styles = Sequence[tuple[str, Sequence[str]]]  # each a name and the words of records' `style`


class TextureNetwork(ModelMixin, ConfigMixin):
    """Convolutions of which each layer's features tell how strong they are and how they vary."""

    def build_layers(self, width: int) -> tuple[int, int]:
        """Make the layers; return how many numbers tell the texture, and the last map's width."""
        widths = (width, 2 * width, 3 * width, 5 * width)
        self.stem = nn.Conv2d(3, width, 5, stride=2, padding=2)
        stages: list[nn.Module] = []
        inner = width
        for number, outer in enumerate(widths):
            stages.append(TextureStage(inner, outer, stride=1 if number == 0 else 2))
            inner = outer
        self.stages = nn.ModuleList(stages)
        return 2 * sum(widths), widths[-1]

    def see(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The texture (B, numbers) and the last map (B, width, H/16, W/16) of pixels in -1...1."""
        x, told = self.stem(pixels), []
        for stage in self.stages:
            x = stage(x)
            told += [x.mean((2, 3)), (x.var((2, 3)) + 1e-4).sqrt()]
        return torch.cat(told, dim=1), x


class TextureStage(nn.Module):
    """A convolution, which may halve the sides, and a residual block."""

    def __init__(self, inner: int, outer: int, stride: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(
            nn.Conv2d(inner, outer, 3, stride, padding=1), nn.GroupNorm(GROUPS, outer), nn.SiLU()
        )
        self.block = nn.Sequential(
            nn.Conv2d(outer, outer, 3, padding=1),
            nn.GroupNorm(GROUPS, outer),
            nn.SiLU(),
            nn.Conv2d(outer, outer, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inner, h, w) -> (B, outer, h / stride, w / stride)."""
        x = self.enter(x)
        return F.silu(x + self.block(x))


class LookReader(TextureNetwork):
    """Which look a picture has, and what styles are on average in each look.

    forward: scores (B, looks + 1) of pixels (B, 3, 128, 128) in -1...1; the last: none of these.
    pull: how far styles go towards the mean of their look, 0...1; 0 leaves them as they are.
    """

    means: Tensor
    colours: Tensor

    @register_to_config
    def __init__(
        self,
        looks: Styles,
        style_dim: int,
        width: int = 8,
        n_colours: int = 15,  # directions of `tell_colours`
        pull: float = 0.7,
    ) -> None:
        super().__init__()
        self.words_of = {name: tuple(words) for name, words in looks}
        self.looks, self.pull = tuple(self.words_of), pull
        numbers, _ = self.build_layers(width)
        self.look = nn.Linear(numbers, len(self.looks) + 1)
        self.register_buffer("means", torch.zeros(len(self.looks), style_dim))
        self.register_buffer("colours", torch.zeros(style_dim, min(n_colours, style_dim)))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.look(self.see(pixels)[0])

    def settle(self, style: Tensor, pixels: Tensor) -> Tensor:
        """Styles (B, style_dim) of pictures (B, 3, H, W) in -1...1, pulled towards their looks.

        What says nothing of the looks it knows stays where it is.
        """
        weight = self.means
        pixels, given = pixels.to(weight), style.to(weight)
        scale = LOOK_PX / min(pixels.shape[-2:])
        if scale != 1:
            size = [round(side * scale) for side in pixels.shape[-2:]]
            pixels = F.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(-1, 1)
        shares = self(pixels).softmax(1)[:, :-1]
        way = shares @ self.means - shares.sum(1, keepdim=True) * given
        way = way - (way @ self.colours) @ self.colours.T
        return (given + self.pull * way).to(style)

    @torch.no_grad()
    def fit_means(self, style: Tensor, look: Tensor) -> None:
        """Set the means of styles (N, style_dim) by the numbers of their looks (N,)."""
        for number in range(len(self.looks)):
            self.means[number] = style[look == number].mean(0)

    @torch.no_grad()
    def fit_colours(self, style: Tensor, pixels: Tensor, penalty: float = 50.0) -> None:
        """Set the directions in which styles (N, style_dim) tell the colours of their pictures
        (N, 3, H, W), by ridge regression.
        """
        told = tell_colours(pixels)
        style, told = style - style.mean(0), told - told.mean(0)
        spread = style.T @ style + penalty * torch.eye(style.shape[1])
        found = torch.linalg.solve(spread, style.T @ told)
        self.colours.copy_(torch.linalg.qr(found).Q)


def tell_colours(pixels: Tensor) -> Tensor:
    """The mean colours of a picture's quarters and the spread of each channel: (N, 15)."""
    quarters = F.adaptive_avg_pool2d(pixels, 2).flatten(1)
    return torch.cat([quarters, pixels.std((2, 3))], dim=1)
