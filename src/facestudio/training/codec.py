"""Train the patch codec: principal components at once, then the decoder that removes the seams.

Loss: squared error in pixels, on the picture and on its horizontal and vertical differences, so
that edges count. The encoder does not change after the fit: latents stay valid.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from facestudio.codec.patch import PatchCodec, fit_patch_codec
from facestudio.data.develop import to_pixels
from facestudio.data.shards import PreparedSet
from facestudio.settings import to_dict
from facestudio.training.loop import LoopSettings, Report, train_task
from facestudio.training.sampling import make_picker, pick_pictures

FIT_BATCH = 64


@dataclass(frozen=True)
class Settings:
    """All that `facestudio train codec` needs."""

    data: tuple[Path, ...]
    loop: LoopSettings
    channels: int = 16
    whitening: float = 0.5
    widths: tuple[int, ...] = (128, 96, 64)  # of the decoder, coarse to fine; 2^n is the factor
    blocks: int = 2
    fit_pictures: int = 12000
    edge_weight: float = 0.5
    latent_noise: float = 0.05  # added to latents in training: generated ones are never exact
    init: Path | None = None  # keep this codec's encoder and go on from its decoder
    source_weights: dict[str, float] | None = None
    held_out: tuple[str, ...] = ("test",)


class CodecTask:
    """Pictures in, pictures out."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.data = PreparedSet(settings.data, ("pictures",))
        self.picker = make_picker(self.data, settings.held_out, settings.source_weights)
        torch.manual_seed(settings.loop.seed)
        self.model = self._codec()

    def batch(self, rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        """Return pixels (B, 3, H, W), half of them mirrored."""
        pixels = to_pixels(pick_pictures(self.data, self.picker, rng, size)[1])
        mirrored = torch.from_numpy(rng.random(size) < 0.5)
        pixels[mirrored] = pixels[mirrored].flip(-1)
        return {"pixels": pixels}

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the reconstruction error; logs PSNR in decibels (of a range of 2)."""
        pixels = batch["pixels"]
        rebuilt = model(pixels, self.settings.latent_noise)
        error = rebuilt - pixels
        squared = error.square().mean()
        edges = error.diff(dim=-1).square().mean() + error.diff(dim=-2).square().mean()
        psnr = 10 * torch.log10(4 / squared.detach())
        return squared + self.settings.edge_weight * edges, {"psnr_db": float(psnr)}

    def samples(self, model: nn.Module) -> np.ndarray | None:
        """Return eight pictures above their reconstructions."""
        rng = np.random.default_rng(self.settings.loop.seed)
        pixels = to_pixels(pick_pictures(self.data, self.picker, rng, 8)[1])
        with torch.no_grad():
            rebuilt = model(pixels).clamp(-1, 1)
        sheet = torch.cat([torch.cat(list(rows), dim=-1) for rows in (pixels, rebuilt)], dim=-2)
        return ((sheet.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()

    def export(self, model: nn.Module, folder: Path) -> None:
        """Write the codec in diffusers' form."""
        assert isinstance(model, PatchCodec)
        model.save_pretrained(folder / "codec")

    def _codec(self) -> PatchCodec:
        settings = self.settings
        if settings.init is not None:
            return PatchCodec.from_pretrained(settings.init)
        return fit_patch_codec(
            self._fit_batches(),
            settings.whitening,
            factor=2 ** len(settings.widths),
            channels=settings.channels,
            widths=settings.widths,
            blocks=settings.blocks,
        )

    def _fit_batches(self) -> Iterator[Tensor]:
        rng = np.random.default_rng(self.settings.loop.seed)
        for _ in range(0, self.settings.fit_pictures, FIT_BATCH):
            yield to_pixels(pick_pictures(self.data, self.picker, rng, FIT_BATCH)[1])


def train(settings: Settings, report: Report | None = None) -> Path:
    """Train as the settings say; return the folder with the exported codec."""
    return train_task(CodecTask(settings), settings.loop, to_dict(settings), report)
