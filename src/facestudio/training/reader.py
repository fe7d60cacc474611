"""Train a reader: a small network that says in which style a portrait is and what is to be seen.

It teaches generators (`wishes.py`): does a picture show what was asked for? So it must not be taken
in by soft or slightly wrong pictures: it learns on blurred, shifted, grainy ones, and of each
layer it sees how strongly every feature is there and how it varies, as texture is told (Gatys et
al., arXiv 1508.06576). It is no part of a model, and no judge of one: `facestudio evaluate` has
its own, on another network's features.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

from facestudio.data.develop import to_pixels
from facestudio.data.labels import holds, style_of
from facestudio.data.shards import PreparedSet
from facestudio.encoders.looks import Styles, TextureNetwork
from facestudio.errors import BadOption
from facestudio.settings import to_dict
from facestudio.training.loop import LoopSettings, Report, train_task

GRID = 4  # cells a side, where attributes are looked for
UNKNOWN = -1
SHIFT_PX = 4
BLUR_PX = 9  # width of the window that softens


@dataclass(frozen=True)
class Settings:
    """All that `facestudio train reader` needs.

    styles: name -> words of records' `style`. attributes: name -> CelebA attributes of which one
    must hold. softened: standard deviations between which pictures are blurred, in px.
    """

    data: tuple[Path, ...]  # prepared sets, with pictures
    loop: LoopSettings
    styles: dict[str, tuple[str, ...]]
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    width: int = 32
    softened: tuple[float, float] = (0.01, 1.4)
    grain: float = 0.2  # standard deviation at most of noise on pixels in -1...1
    held_out: tuple[str, ...] = ("test", "val")


class PortraitReader(TextureNetwork):
    """Scores (B, styles) and (B, attributes) of portraits (B, 3, H, W) in -1...1.

    The largest style score wins; attributes hold over 0. styles: each a name and the words of
    records' `style` that belong to it.
    """

    @register_to_config
    def __init__(
        self,
        styles: Styles,
        attributes: Sequence[str],
        width: int = 32,
    ) -> None:
        super().__init__()
        self.words_of = {name: tuple(words) for name, words in styles}
        self.styles, self.attributes = tuple(self.words_of), tuple(attributes)
        numbers, last = self.build_layers(width)
        self.look = nn.Linear(numbers, len(self.styles))
        self.seen = nn.Sequential(
            nn.Flatten(), nn.Dropout(0.3), nn.Linear(GRID**2 * last, len(self.attributes))
        )

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        texture, last = self.see(pixels)
        return self.look(texture), self.seen(F.adaptive_avg_pool2d(last, GRID))


class ReaderTask:
    """Pictures in which every style and every attribute comes up alike often, and what they are."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.data = PreparedSet(settings.data, ("pictures",))
        records = self.data.records
        names = list(settings.styles)
        self.style = np.array([_number(names, style_of(r, settings.styles)) for r in records])
        self.attributes = attributes_of(records, settings.attributes)
        free = np.array([record.get("split") not in settings.held_out for record in records])
        self.groups = self._groups(free)
        torch.manual_seed(settings.loop.seed)
        styles = tuple(settings.styles.items())
        self.model = PortraitReader(styles, tuple(settings.attributes), settings.width)

    def _groups(self, free: np.ndarray) -> list[list[np.ndarray]]:
        """Samples by style, and by attribute. Raises BadOption where one has none."""
        groups: dict[str, np.ndarray] = {}
        for number, name in enumerate(self.settings.styles):
            groups[f"style {name}"] = np.flatnonzero(free & (self.style == number))
        for number, name in enumerate(self.settings.attributes):
            groups[f"attribute {name}"] = np.flatnonzero(free & (self.attributes[:, number] > 0))
        if lacking := [name for name, rows in groups.items() if not len(rows)]:
            raise BadOption(f"no pictures to learn from for: {', '.join(lacking)}")
        by_kind: dict[str, list[np.ndarray]] = defaultdict(list)
        for name, rows in groups.items():
            by_kind[name.split()[0]].append(rows)
        return list(by_kind.values())

    def batch(self, rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        """Return pixels (B, 3, H, W), style numbers (B,) and attributes (B, K) as 0, 1 or -1."""
        kinds = rng.integers(len(self.groups), size=size)
        rows = [rng.choice(self._group(rng, kind)) for kind in kinds]
        pixels = to_pixels([self.data.picture(int(row)) for row in rows])
        return {
            "pixels": vary(pixels, self.settings.softened, self.settings.grain, rng),
            "style": torch.from_numpy(self.style[rows]),
            "attributes": torch.from_numpy(self.attributes[rows]),
        }

    def _group(self, rng: np.random.Generator, kind: int) -> np.ndarray:
        groups = self.groups[kind]
        return groups[rng.integers(len(groups))]

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the cross-entropies of style and attributes; logs how much is read right."""
        look, seen = model(batch["pixels"])
        told, wanted = batch["attributes"] != UNKNOWN, batch["attributes"].clamp_min(0)
        loss = F.cross_entropy(look.float(), batch["style"], ignore_index=UNKNOWN)
        figures = {"style_right": _share(look.argmax(1) == batch["style"], batch["style"] >= 0)}
        if told.any():
            each = F.binary_cross_entropy_with_logits(seen.float(), wanted, reduction="none")
            loss = loss + each[told].mean()
            figures["attributes_right"] = _share((seen > 0) == (wanted > 0), told)
        return loss, figures

    def samples(self, model: nn.Module) -> np.ndarray | None:
        """A reader draws nothing."""
        return None

    def export(self, model: nn.Module, folder: Path) -> None:
        """Write the reader in diffusers' form."""
        assert isinstance(model, PortraitReader)
        model.save_pretrained(folder / "reader")


def attributes_of(
    records: Sequence[Mapping[str, Any]], attributes: Mapping[str, Sequence[str]]
) -> np.ndarray:
    """What holds in each record, (N, K): 1 it does, 0 not, -1 not said."""
    found = np.full((len(records), len(attributes)), UNKNOWN, np.float32)
    for row, record in enumerate(records):
        if (own := record.get("attributes")) is not None:
            found[row] = [holds(wanted, own) for wanted in attributes.values()]
    return found


def vary(
    pixels: Tensor, softened: tuple[float, float], grain: float, rng: np.random.Generator
) -> Tensor:
    """Pictures (B, 3, H, W) mirrored, shifted, softened and grained, each by chance."""
    varied = []
    for picture in pixels:
        if rng.random() < 0.5:
            picture = picture.flip(-1)
        down, right = rng.integers(-SHIFT_PX, SHIFT_PX + 1, 2).tolist()
        picture = picture.roll((down, right), (1, 2))
        if rng.random() < 0.6:
            picture = soften(picture, rng.uniform(*softened))
        varied.append(picture)
    strength = grain * rng.random((len(pixels), 1, 1, 1), np.float32)
    noise = strength * rng.standard_normal(tuple(pixels.shape), np.float32)
    return (torch.stack(varied) + torch.from_numpy(noise)).clamp(-1, 1)


def soften(picture: Tensor, sigma: float) -> Tensor:
    """A picture (3, H, W) blurred by a standard deviation in px."""
    x = torch.arange(BLUR_PX) - BLUR_PX // 2
    window = torch.exp(-0.5 * (x / sigma) ** 2)
    window = (window / window.sum()).view(1, 1, -1)
    padded = F.pad(picture[:, None], (BLUR_PX // 2,) * 4, mode="reflect")
    return F.conv2d(F.conv2d(padded, window[..., None]), window[:, :, None])[:, 0]


def _number(names: Sequence[str], name: str | None) -> int:
    return UNKNOWN if name is None else names.index(name)


def _share(right: Tensor, of: Tensor) -> float:
    return float(right[of].float().mean()) if of.any() else float("nan")


def train(settings: Settings, report: Report | None = None) -> Path:
    """Train as the settings say; return the folder with the exported reader."""
    return train_task(ReaderTask(settings), settings.loop, to_dict(settings), report)
