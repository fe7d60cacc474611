"""Full size's picture <-> latents: Stable Diffusion's autoencoder behind the codec's interface.

Rombach et al., arXiv 2112.10752. It lives in a model folder as `vae/`, as diffusers writes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from diffusers import AutoencoderKL  # a second of imports that mini does not need


class KLCodec(nn.Module):
    """Encode pixels (B, 3, H, W) in -1...1 to latents (B, channels, H/factor, W/factor) and back.

    Latents are the mode of the posterior times the autoencoder's scaling factor: the same picture
    gives the same latents. H and W must be multiples of `factor`. What comes out has the dtype of
    what went in, whatever the autoencoder's is.
    """

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae
        self.factor: int = 2 ** (len(vae.config.block_out_channels) - 1)
        self.channels: int = vae.config.latent_channels
        self.scaling: float = vae.config.scaling_factor
        self.shift: float = vae.config.shift_factor or 0.0

    def encode(self, pixels: Tensor) -> Tensor:
        """Latents (B, channels, H/factor, W/factor) of pixels (B, 3, H, W)."""
        found = self.vae.encode(pixels.to(self.vae.dtype)).latent_dist.mode().to(pixels)
        return (found - self.shift) * self.scaling

    def decode(self, latents: Tensor, style: Tensor | None = None) -> Tensor:
        """Pixels (B, 3, H, W) in -1...1 of latents; this decoder needs no style."""
        ready = (latents / self.scaling + self.shift).to(self.vae.dtype)
        return self.vae.decode(ready).sample.to(latents).clamp(-1, 1)
