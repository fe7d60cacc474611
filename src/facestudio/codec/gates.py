"""What a style says of a whole picture: whether it has colours, whether its flat parts are flat.

Each is one number of a style, by logistic regression on the styles of real pictures.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SURE = 20.0  # log odds of a gate that has not been fitted
DECISION, DOUBT = 2.0, 1.0  # log odds of flat parts are multiplied by the one, less the other
RADIUS_PX, REACH_PX = 2, 3.0
UNLIKE = 12 / 127.5  # a difference of so much, on pixels in -1...1, begins to be an edge


class StyleGate(nn.Module):
    """How far something holds of styles (B, style_dim), 0...1.

    unless_told: whether it does where there is no style, and before the gate is fitted.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, style_dim: int, unless_told: bool) -> None:
        super().__init__()
        self.unless_told = float(unless_told)
        self.register_buffer("weight", torch.zeros(style_dim))
        self.register_buffer("bias", torch.tensor(SURE if unless_told else -SURE))

    def share(self, style: Tensor) -> Tensor:
        """How far it holds of each style, as (B, 1, 1, 1)."""
        told = torch.sigmoid(style @ self.weight + self.bias)
        told = torch.where(style.any(1), told, torch.full_like(told, self.unless_told))
        return told[:, None, None, None]

    def fit(
        self, style: Tensor, holds: Tensor, penalty: float = 1e-3, counts: Tensor | None = None
    ) -> None:
        """Set the gate by logistic regression on styles (N, style_dim) and booleans (N,).

        counts: how much each of the N counts; all alike where None.
        """
        counts = torch.ones(len(style)) if counts is None else counts
        counts = counts.to(style) / counts.sum()
        weight, bias = torch.zeros_like(self.weight), torch.zeros_like(self.bias)
        free = [each.requires_grad_() for each in (weight, bias)]
        steps = torch.optim.LBFGS(free, max_iter=200, line_search_fn="strong_wolfe")

        def cost() -> Tensor:
            steps.zero_grad()
            wrong = F.binary_cross_entropy_with_logits(
                style @ weight + bias, holds.to(style), reduction="none"
            )
            loss = counts @ wrong + penalty * weight.square().sum()
            loss.backward()
            return loss

        with torch.enable_grad():
            steps.step(cost)
        self.weight.copy_(weight.detach())
        self.bias.copy_(bias.detach())


class ColourGate(StyleGate):
    """Pictures (B, 3, H, W) without colour where a style (B, style_dim) has none.

    A generator leaves a little colour in a pencil drawing, which one sees at once. Fresh: all.
    """

    def __init__(self, style_dim: int) -> None:
        super().__init__(style_dim, unless_told=True)

    def forward(self, picture: Tensor, style: Tensor) -> Tensor:
        kept = self.share(style).to(picture.dtype)
        return torch.lerp(picture.mean(1, keepdim=True), picture, kept)


class FlatGate(StyleGate):
    """Pictures (B, 3, H, W) whose flat parts are smoothed where a style (B, style_dim) has none
    of a painter's mottle: photos, ink. Fresh: as they are.

    A decoder that draws brushwork and the grain of paper leaves a little of it everywhere, by
    which a photo is taken for a painting.
    """

    def __init__(self, style_dim: int) -> None:
        super().__init__(style_dim, unless_told=False)

    def fit(
        self, style: Tensor, holds: Tensor, penalty: float = 1e-3, counts: Tensor | None = None
    ) -> None:
        """As StyleGate's, but more decided; in doubt a picture stays as it is: half smoothed,
        a painting is taken for a photo.
        """
        super().fit(style, holds, penalty, counts)
        self.weight.mul_(DECISION)
        self.bias.mul_(DECISION).sub_(DOUBT)

    def forward(self, picture: Tensor, style: Tensor) -> Tensor:
        flat = self.share(style).to(picture.dtype)
        if not bool((flat > 1e-3).any()):
            return picture
        return torch.lerp(picture, smooth_between_edges(picture), flat)


def smooth_between_edges(pictures: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in -1...1, each place the mean of what is near and alike.

    Source: the bilateral filter (Tomasi & Manduchi, Bilateral Filtering for Gray and Color Images,
    ICCV 1998), over a disc of RADIUS_PX.
    """
    height, width = pictures.shape[2:]
    padded = F.pad(pictures, (RADIUS_PX,) * 4, mode="replicate")
    total, weights = torch.zeros_like(pictures), torch.zeros_like(pictures[:, :1])
    for down in range(-RADIUS_PX, RADIUS_PX + 1):
        for right in range(-RADIUS_PX, RADIUS_PX + 1):
            far = down**2 + right**2
            if far > RADIUS_PX**2:
                continue
            near = padded[:, :, RADIUS_PX + down :, RADIUS_PX + right :][:, :, :height, :width]
            unlike = (near - pictures).abs().mean(1, keepdim=True) / UNLIKE
            weight = torch.exp(-0.5 * (far / REACH_PX**2 + unlike.square()))
            total, weights = total + weight * near, weights + weight
    return total / weights
