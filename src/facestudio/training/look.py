"""Train what knows the look of a style picture, and pulls styles towards it (`encoders/looks.py`).

The network learns on single pictures; the means of looks and the directions of colours are fitted
on the styles of the same sets before it starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facestudio.data.develop import to_pixels
from facestudio.data.labels import PHOTO, style_of
from facestudio.data.shards import PreparedSet
from facestudio.encoders.looks import LookReader
from facestudio.errors import BadOption
from facestudio.settings import to_dict
from facestudio.training.loop import LoopSettings, Report, train_task
from facestudio.training.reader import UNKNOWN, vary

COLOUR_PICTURES = 6000  # that say in which directions styles tell colours


@dataclass(frozen=True)
class Settings:
    """All that `facestudio train look` needs.

    looks: name -> words of records' `style`. softened: standard deviations between which pictures
    are blurred, in px; grain: standard deviation at most of noise on pixels in -1...1.
    """

    data: tuple[Path, ...]  # prepared sets, with pictures and styles
    loop: LoopSettings
    looks: dict[str, tuple[str, ...]]
    width: int = 8
    pull: float = 0.7
    softened: tuple[float, float] = (0.01, 0.7)
    grain: float = 0.03
    held_out: tuple[str, ...] = ("test", "val")


class LookTask:
    """Pictures in which every look comes up alike often, and none of these as often as one."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.data = PreparedSet(settings.data, ("pictures", "style"))
        names = tuple(settings.looks)
        records = self.data.records
        look = np.array([number_of(record, settings.looks) for record in records])
        free = np.array([record.get("split") not in settings.held_out for record in records])
        self.look = np.where(free, look, UNKNOWN)
        self.groups = [np.flatnonzero(self.look == number) for number in range(len(names) + 1)]
        lacking = [name for name, rows in zip(names, self.groups, strict=False) if not len(rows)]
        if lacking:
            raise BadOption(f"no pictures to learn from for: {', '.join(lacking)}")
        self.groups = [rows for rows in self.groups if len(rows)]
        torch.manual_seed(settings.loop.seed)
        style_dim = self.data.arrays["style"].shape[1]
        self.model = LookReader(
            tuple(settings.looks.items()), style_dim, settings.width, pull=settings.pull
        )
        self._fit(self.model)

    def _fit(self, model: LookReader) -> None:
        """Fit the means and the directions of colours on pictures that are not held out."""
        rows = np.flatnonzero(self.look != UNKNOWN)
        style = torch.from_numpy(self.data.arrays["style"][rows].astype(np.float32))
        model.fit_means(style, torch.from_numpy(self.look[rows]))
        rng = np.random.default_rng(self.settings.loop.seed)
        chosen = rng.permutation(len(rows))[:COLOUR_PICTURES]
        pixels = to_pixels([self.data.picture(int(row)) for row in rows[chosen]])
        model.fit_colours(style[chosen], pixels)

    def batch(self, rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        """Return pixels (B, 3, H, W) and the numbers of their looks (B,)."""
        kinds = rng.integers(len(self.groups), size=size)
        rows = [int(rng.choice(self.groups[kind])) for kind in kinds]
        pixels = to_pixels([self.data.picture(row) for row in rows])
        varied = vary(pixels, self.settings.softened, self.settings.grain, rng)
        return {"pixels": varied, "look": torch.from_numpy(self.look[rows])}

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the cross-entropy of looks; logs how many are told right."""
        told = model(batch["pixels"]).float()
        right = (told.argmax(1) == batch["look"]).float().mean()
        return F.cross_entropy(told, batch["look"]), {"right": float(right)}

    def samples(self, model: nn.Module) -> np.ndarray | None:
        """A reader draws nothing."""
        return None

    def export(self, model: nn.Module, folder: Path) -> None:
        """Write the reader in diffusers' form."""
        assert isinstance(model, LookReader)
        model.save_pretrained(folder / "look_reader")


def number_of(record: Mapping[str, Any], looks: Mapping[str, Sequence[str]]) -> int:
    """The number of a record's look, one more than the last for a drawing in none of them, or
    UNKNOWN.
    """
    name = style_of(record, looks)
    if name is not None:
        return list(looks).index(name)
    return UNKNOWN if record.get("style") in (None, PHOTO) else len(looks)


def train(settings: Settings, report: Report | None = None) -> Path:
    """Train as the settings say; return the folder with the exported reader."""
    return train_task(LookTask(settings), settings.loop, to_dict(settings), report)
