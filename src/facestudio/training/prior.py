"""Train the prior: from the vector of a caption to the vector of its picture.

The towers are frozen, so captions are embedded once, before the first step; the pictures' vectors
are the set's own: of whole pictures, so that words may say what a face does ("smiling", "glasses"),
or with faces hidden, as the style pictures of the paper are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from facestudio.data.shards import PreparedSet
from facestudio.encoders.image_towers import ImageTowers
from facestudio.encoders.text_towers import TextTowers
from facestudio.errors import BadModel, MissingWeights
from facestudio.prior.prior import EmbeddingPrior
from facestudio.settings import to_dict
from facestudio.training.loop import LoopSettings, Report, train_task
from facestudio.training.sampling import make_picker

EMBED_BATCH = 256
GENDERED = re.compile(r"\b(wo)?man\b")
DETAILED = re.compile(r"\bof an? (?:[\w-]+ )*?((?:wo)?man|person)\b.*")


@dataclass(frozen=True)
class Settings:
    """All that `facestudio train prior` needs."""

    data: tuple[Path, ...]
    towers: Path  # folder with image and text towers
    loop: LoopSettings
    width: int = 256
    layers: int = 4
    heads: int = 4
    drop_text: float = 0.1
    neutral: float = 0.25  # share of captions in which a man or a woman is called a person
    brief: float = 0.0  # share of captions that say the look and nothing of the person
    whole: bool = False  # vectors of whole pictures, for a U-Net trained with `whole_style`
    init: Path | None = None  # export of an earlier run to start from; its sizes hold
    source_weights: dict[str, float] | None = None
    held_out: tuple[str, ...] = ("test",)


class PriorLoss(nn.Module):
    """The prior as the loop calls it: vectors in, loss out."""

    def __init__(self, prior: EmbeddingPrior) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the loss of text vectors (B, T) against style vectors (B, S)."""
        return self.prior.loss_at(**batch)


class PriorTask:
    """Pairs of a caption's vector and its picture's."""

    def __init__(self, settings: Settings) -> None:
        array = "style_whole" if settings.whole else "style"
        self.data = PreparedSet(settings.data, (array,))
        self.style = torch.from_numpy(self.data.arrays[array].astype(np.float32))
        self.picker = make_picker(
            self.data, settings.held_out, settings.source_weights, captioned=True
        )
        self.neutral, self.brief = settings.neutral, settings.brief
        text = TextTowers.load(settings.towers)
        captions = [c for r in self.data.records for c in r["captions"]]
        captions += map(neutral_caption, tuple(captions))
        self.vectors = embed_captions(text, [*captions, *map(brief_caption, captions)])
        towers = ImageTowers.load(settings.towers).tower_dims
        torch.manual_seed(settings.loop.seed)
        if settings.init is None:
            prior = build_prior(settings, text.text_dim, towers)
            prior.fit_scale(self.style[self.picker.indices])
        else:
            prior = load_prior(settings, text.text_dim, towers)
        self.model = PriorLoss(prior)

    def batch(self, rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        """Return text vectors (B, T), style vectors (B, S), and what the loss draws for each."""
        chosen = self.picker.pick(rng, size)
        captions = [str(rng.choice(self.data.records[i]["captions"])) for i in chosen]
        for share, reworded in ((self.neutral, neutral_caption), (self.brief, brief_caption)):
            changed = rng.random(size) < share
            captions = [
                reworded(caption) if change else caption
                for caption, change in zip(captions, changed, strict=True)
            ]
        style = self.style[chosen]
        drawer = torch.Generator().manual_seed(int(rng.integers(2**62)))
        noise, times, kept = self.model.prior.draw(style, drawer)
        text = torch.stack([self.vectors[caption] for caption in captions])
        return {"text": text, "style": style, "noise": noise, "times": times, "kept": kept}

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the prior's denoising loss; 1 is what no knowledge gives."""
        return model(batch), {}

    def samples(self, model: nn.Module) -> np.ndarray | None:
        """A prior draws nothing."""
        return None

    def export(self, model: nn.Module, folder: Path) -> None:
        """Write the prior in diffusers' form."""
        assert isinstance(model, PriorLoss)
        model.prior.save_pretrained(folder / "prior")


def build_prior(settings: Settings, text_dim: int, towers: Sequence[int]) -> EmbeddingPrior:
    """Return a fresh prior over vectors of these towers."""
    return EmbeddingPrior(
        text_dim, towers, settings.width, settings.layers, settings.heads, settings.drop_text
    )


def load_prior(settings: Settings, text_dim: int, towers: Sequence[int]) -> EmbeddingPrior:
    """Return the prior of an earlier export, with its scale; raises BadModel for other towers."""
    assert settings.init is not None
    path = settings.init / "prior"
    if not path.is_dir():
        raise MissingWeights(f"init: {path} is missing", file=path, hint="give a run's export")
    prior: EmbeddingPrior = EmbeddingPrior.from_pretrained(path, torch_dtype=torch.float32)
    found, wanted = (prior.text_dim, *prior.tower_dims), (text_dim, *towers)
    if found != wanted:
        raise BadModel(f"init: {path} is of towers of {found} numbers, these have {wanted}")
    prior.drop_text = settings.drop_text
    return prior


def brief_caption(caption: str) -> str:
    """Return the caption without what it says of a person: "an etching of a man" and no more."""
    return DETAILED.sub(r"of a \1", caption)


def neutral_caption(caption: str) -> str:
    """Return the caption with "person" for a man or a woman: "an old man" is an old person."""
    return GENDERED.sub("person", caption)


@torch.no_grad()
def embed_captions(text: TextTowers, captions: list[str]) -> dict[str, Tensor]:
    """Return every different caption's vector (T,)."""
    different = sorted(set(captions), key=lambda caption: (len(caption), caption))  # little padding
    vectors: dict[str, Tensor] = {}
    for start in range(0, len(different), EMBED_BATCH):
        chunk = different[start : start + EMBED_BATCH]
        vectors.update(zip(chunk, text.encode(text.tokenize(chunk)), strict=True))
    return vectors


def train(settings: Settings, report: Report | None = None) -> Path:
    """Train as the settings say; return the folder with the exported prior."""
    return train_task(PriorTask(settings), settings.loop, to_dict(settings), report)
