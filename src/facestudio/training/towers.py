"""Train mini's image and text towers: each picture is told from the others by its caption.

Every pair of towers (one for pictures, one for words) has its own contrastive loss (CLIP,
arXiv 2103.00020), all in one pass. Half of the pictures have their face hidden, as the style
pictures that the towers will see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from facestudio.data.develop import to_pixels
from facestudio.data.shards import PreparedSet
from facestudio.encoders.contrastive import LogitScales, contrastive_loss, number_captions
from facestudio.encoders.image_towers import ImageTowerConfig, ImageTowers
from facestudio.encoders.text_towers import TextTowerConfig, TextTowers
from facestudio.encoders.wordpiece import build_vocabulary, make_tokenizer
from facestudio.faces.align import hide_face
from facestudio.settings import to_dict
from facestudio.training.loop import LoopSettings, Report, train_task
from facestudio.training.sampling import make_picker, pick_pictures


@dataclass(frozen=True)
class Settings:
    """All that `facestudio train towers` needs."""

    data: tuple[Path, ...]
    loop: LoopSettings
    image_towers: tuple[ImageTowerConfig, ...]
    text_towers: tuple[TextTowerConfig, ...]
    hidden_faces: float = 0.5  # share of pictures whose face is hidden
    mask_margin: float = 1.0
    vocabulary_words: Path | None = None  # more words, one a line, that the tokenizer shall know
    source_weights: dict[str, float] | None = None
    held_out: tuple[str, ...] = ("test",)
    init: Path | None = None  # folder of towers to start from, with their tokenizer


class Towers(nn.Module):
    """Image towers, text towers and their temperatures, trained together."""

    def __init__(self, image: ImageTowers, text: TextTowers) -> None:
        super().__init__()
        self.image = image
        self.text = text
        self.scales = LogitScales(len(image.tower_dims))

    def forward(self, pixels: Tensor, tokens: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the share of pictures whose nearest caption is their own."""
        images, texts = self.image.embed_each(pixels), self.text.embed_each(tokens)
        loss = contrastive_loss(images, texts, self.scales(), numbers)
        nearest = (torch.cat(images, -1) @ torch.cat(texts, -1).T).argmax(1)
        return loss, (numbers[nearest] == numbers).float().mean()


class TowersTask:
    """Batches of pictures with captions, and the contrastive loss."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.data = PreparedSet(settings.data, ("pictures", "eyes"))
        self.picker = make_picker(
            self.data, settings.held_out, settings.source_weights, captioned=True
        )
        torch.manual_seed(settings.loop.seed)
        if settings.init is not None:
            self.model = Towers(ImageTowers.load(settings.init), TextTowers.load(settings.init))
        else:
            self.model = Towers(ImageTowers.from_config(settings.image_towers), self._text_towers())

    def batch(self, rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        """Return pixels (B, 3, H, W), caption tokens (B, L) and caption numbers (B,)."""
        chosen, read = pick_pictures(self.data, self.picker, rng, size)
        captions = [str(rng.choice(self.data.records[i]["captions"])) for i in chosen]
        pictures = [self._vary(p, i, rng) for p, i in zip(read, chosen, strict=True)]
        return {
            "pixels": to_pixels(pictures),
            "tokens": self.model.text.tokenize(captions),
            "numbers": number_captions(captions),
        }

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the contrastive loss and how often the own caption is the nearest."""
        loss, hits = model(batch["pixels"], batch["tokens"], batch["numbers"])
        return loss, {"nearest_is_own": float(hits)}

    def samples(self, model: nn.Module) -> np.ndarray | None:
        """Towers draw nothing."""
        return None

    def export(self, model: nn.Module, folder: Path) -> None:
        """Write the towers and the tokenizer as a model folder holds them."""
        assert isinstance(model, Towers)
        model.image.save(folder)
        model.text.save(folder)

    def _text_towers(self) -> TextTowers:
        captions = [c for record in self.data.records for c in record["captions"]]
        path = self.settings.vocabulary_words
        words = path.read_text().split() if path else []
        context = min(tower.context_length for tower in self.settings.text_towers)
        tokenizer = make_tokenizer(build_vocabulary(captions, words), context)
        return TextTowers.from_config(self.settings.text_towers, tokenizer)

    def _vary(self, picture: np.ndarray, index: int, rng: np.random.Generator) -> Image.Image:
        """Return the picture with its face hidden or not, mirrored or not, slightly cut."""
        image = Image.fromarray(picture)
        eyes = self.data.arrays["eyes"][index]
        if not np.isnan(eyes).any() and rng.random() < self.settings.hidden_faces:
            image = hide_face(image, eyes, self.settings.mask_margin)
        if rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        inset = int(rng.integers(0, image.width // 10 + 1))
        left, top = rng.integers(0, inset + 1, 2).tolist()
        box = (left, top, left + image.width - inset, top + image.height - inset)
        return image.resize(image.size, Image.Resampling.BILINEAR, box=box)


def train(settings: Settings, report: Report | None = None) -> Path:
    """Train as the settings say; return the folder with the exported towers."""
    return train_task(TowersTask(settings), settings.loop, to_dict(settings), report)
