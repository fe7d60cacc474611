"""Mini's picture <-> latents: a linear patch encoder and a small learned decoder.

The encoder projects each 8 x 8 patch on its principal components (Pearson 1901), so latents
keep the order of pixel statistics: coarse colour first, detail last. Channel k is divided by a
power of its standard deviation (`whitening`: 0 keeps pixel scale, 1 gives unit variance
each); one factor then brings the mean variance over channels to 1, as a diffusion model wants it.

The decoder starts from the exact linear inverse and adds what a few residual blocks learned: the
detail that the dropped components carried. A decoder that is told the style (`style_dim`) draws
hatching where a pencil is meant and none where a photo is, and leaves no colour in a drawing in
greys; one with `fine_width` then goes over the whole picture once more at full size, so that no
seams are left between patches; one with `flat_gate` smooths what is flat in photos and the like.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

from facestudio.codec.gates import ColourGate, FlatGate


class PatchCodec(ModelMixin, ConfigMixin):
    """Encode pixels (B, 3, H, W) in -1...1 to latents (B, channels, H/factor, W/factor) and back.

    H and W must be multiples of `factor`. style_dim: length of the style vectors the decoder takes
    in; 0: none. fine_width: channels of its last layers, at the picture's size; 0: it has none.
    flat_gate: whether it has a FlatGate, which needs styles.
    Fresh weights are an untrained basis: use `fit_patch_codec` or `from_pretrained`.
    """

    @register_to_config
    def __init__(
        self,
        factor: int = 8,
        channels: int = 16,
        widths: tuple[int, ...] = (128, 96, 64),
        blocks: int = 2,
        style_dim: int = 0,
        fine_width: int = 0,
        flat_gate: bool = False,
    ) -> None:
        super().__init__()
        self.factor = factor
        self.channels = channels
        size = 3 * factor * factor
        basis = torch.linalg.qr(torch.randn(size, channels))[0].T
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("basis", basis.contiguous())  # orthonormal rows (channels, 3*f*f)
        self.register_buffer("scale", torch.ones(channels))
        self.style_dim = style_dim
        self.refine = Refiner(channels, factor, tuple(widths), blocks, style_dim)
        self.finish = Finisher(widths[-1], fine_width, style_dim) if fine_width else None
        self.colour = ColourGate(style_dim) if style_dim else None
        self.flat = FlatGate(style_dim) if flat_gate else None

    def encode(self, pixels: Tensor) -> Tensor:
        """Return latents (B, channels, H/factor, W/factor) of pixels (B, 3, H, W)."""
        patches = F.pixel_unshuffle(pixels, self.factor)  # (B, 3*f*f, h, w)
        centred = patches - self.mean[:, None, None]
        return torch.einsum("bphw,cp->bchw", centred, self.basis) / self.scale[:, None, None]

    def decode_linear(self, latents: Tensor) -> Tensor:
        """Return the least-squares picture (B, 3, H, W) of latents, without the learned part."""
        patches = torch.einsum("bchw,cp->bphw", latents * self.scale[:, None, None], self.basis)
        return F.pixel_shuffle(patches + self.mean[:, None, None], self.factor)

    def decode(self, latents: Tensor, style: Tensor | None = None) -> Tensor:
        """Return pixels (B, 3, H, W) in -1...1 of latents.

        style (B, style_dim): what they should look like; none is a trained state too.
        """
        return self.decode_unclamped(latents, style).clamp(-1, 1)

    def decode_unclamped(self, latents: Tensor, style: Tensor | None = None) -> Tensor:
        """Return the same without the limits, so that a loss has a gradient beyond them too."""
        if style is None:
            style = latents.new_zeros(len(latents), self.style_dim)
        style = style.to(latents)
        residual, features = self.refine(latents, style)
        picture = self.decode_linear(latents) + residual
        if self.finish is not None:
            picture = self.finish(picture, features, style)
        for gate in (self.colour, self.flat):
            picture = picture if gate is None else gate(picture, style)
        return picture

    def forward(self, pixels: Tensor, noise: float = 0.0) -> Tensor:
        """Return the unclamped reconstruction of pixels, for training the decoder.

        `noise`: standard deviation of what is added to the latents.
        """
        latents = self.encode(pixels)
        if noise:
            latents = latents + noise * torch.randn_like(latents)
        return self.decode_unclamped(latents)


class Refiner(nn.Module):
    """Residual picture (B, 3, H, W) of latents, and features (B, width, H/2, W/2) it is made of.

    Blocks at each scale, doubled by pixel shuffle; each block is told the style (B, style_dim).
    """

    def __init__(
        self,
        channels: int,
        factor: int,
        widths: tuple[int, ...],
        blocks: int,
        style_dim: int = 0,
    ) -> None:
        super().__init__()
        if 2 ** len(widths) != factor:
            raise ValueError(
                f"factor {factor} needs {factor.bit_length() - 1} widths, got {widths}"
            )
        self.stem = nn.Conv2d(channels, widths[0], 3, padding=1)
        stages: list[nn.Module] = []
        last = self.stem
        for width, following in zip(widths, (*widths[1:], 3), strict=True):
            last = nn.Conv2d(width, 4 * following, 3, padding=1)
            stages += [
                *(RefineBlock(width, style_dim) for _ in range(blocks)),
                last,
                nn.PixelShuffle(2),
            ]
        self.stages = nn.Sequential(*stages)
        nn.init.zeros_(last.weight)  # a fresh decoder is the linear one
        if last.bias is not None:
            nn.init.zeros_(last.bias)

    def forward(self, latents: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(latents)
        *stages, last, shuffle = self.stages
        for stage in stages:
            x = stage(x, style) if isinstance(stage, RefineBlock) else stage(x)
        return shuffle(last(x)), x


class RefineBlock(nn.Module):
    """Two convolutions around a SiLU, added to their input; the style scales and shifts between."""

    def __init__(self, width: int, style_dim: int = 0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.told = TellStyle(style_dim, width) if style_dim else None

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        inner = self.conv1(F.silu(x))
        if self.told is not None:
            inner = self.told(inner, style)
        return x + self.conv2(F.silu(inner))


class TellStyle(nn.Module):
    """Features (B, width, h, w) scaled and shifted by a style (B, style_dim); fresh: unchanged.

    Source: feature-wise linear modulation (Perez et al., arXiv 1709.07871), through few numbers.
    """

    def __init__(self, style_dim: int, width: int, through: int = 24) -> None:
        super().__init__()
        self.read = nn.Linear(style_dim, through)
        self.tell = nn.Linear(through, 2 * width)
        nn.init.zeros_(self.tell.weight)
        nn.init.zeros_(self.tell.bias)

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        told = self.tell(F.silu(self.read(style)))[:, :, None, None]
        scale, shift = told.chunk(2, dim=1)
        return x * (1 + scale) + shift


class Finisher(nn.Module):
    """A picture (B, 3, H, W) gone over once more at its own size; fresh: unchanged.

    It sees the picture and the decoder's last features (B, features, H/2, W/2), spread over it.
    """

    def __init__(self, features: int, width: int, style_dim: int = 0) -> None:
        super().__init__()
        self.spread = nn.Sequential(
            nn.Conv2d(features, 4 * width, 3, padding=1), nn.PixelShuffle(2)
        )
        self.look = nn.Conv2d(width + 3, width, 3, padding=1)
        self.block = RefineBlock(width, style_dim)
        self.draw = nn.Conv2d(width, 3, 3, padding=1)
        nn.init.zeros_(self.draw.weight)
        nn.init.zeros_(self.draw.bias)  # type: ignore[arg-type]

    def forward(self, picture: Tensor, features: Tensor, style: Tensor) -> Tensor:
        x = self.look(torch.cat([picture, self.spread(features)], dim=1))
        return picture + self.draw(F.silu(self.block(x, style)))


def fit_patch_codec(
    batches: Iterable[Tensor], whitening: float = 0.5, **config: object
) -> PatchCodec:
    """Return a codec whose encoder is the principal components of the patches of `batches`.

    Each batch is pixels (B, 3, H, W) in -1...1. The decoder's learned part starts at zero.
    """
    codec = PatchCodec(**config)
    size = codec.mean.shape[0]
    total, outer, count = torch.zeros(size).double(), torch.zeros(size, size).double(), 0
    for pixels in batches:
        patches = F.pixel_unshuffle(pixels, codec.factor).permute(0, 2, 3, 1).reshape(-1, size)
        patches = patches.double()
        total += patches.sum(0)
        outer += patches.T @ patches
        count += len(patches)
    mean = total / count
    variances, vectors = torch.linalg.eigh(outer / count - torch.outer(mean, mean))
    keep = torch.arange(size - 1, size - 1 - codec.channels, -1)
    std = variances[keep].clamp_min(1e-8).sqrt()
    scale = std**whitening
    scale *= ((std / scale) ** 2).mean().sqrt()
    codec.mean.copy_(mean)
    codec.basis.copy_(vectors[:, keep].T)
    codec.scale.copy_(scale)
    return codec
