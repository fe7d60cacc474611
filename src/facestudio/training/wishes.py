"""Train on wishes: a person and a look that no picture of the set shows together.

A user gives a photo and the style of another picture, or words. Rebuilding pictures never asks for
that: there, style and face come from one person. Here a generator draws such a wish as it will for
the user, in a few steps from noise, and others say what came of it: a reader, whether the look and
what was asked for are to be seen; a recogniser, whether it is the person; and the generator's
critic, whether it is a picture. Gradients go through the last prediction alone.

Source: reward feedback learning (Xu et al., arXiv 2304.05977; Clark et al., arXiv 2309.17400).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from facestudio.data.labels import style_of
from facestudio.data.shards import PreparedSet
from facestudio.encoders.text_towers import TextTowers
from facestudio.errors import BadOption
from facestudio.guidance.mapped_unet import TIMES
from facestudio.prior.prior import EmbeddingPrior
from facestudio.training.identity_loss import IdentityLoss
from facestudio.training.pairs import SamplePool
from facestudio.training.reader import SHIFT_PX, UNKNOWN, PortraitReader

PERSON = "person"
HAIR = ("blond_hair", "black_hair", "grey_hair", "bald", "hat")  # one says nothing of the others
PRIOR_BATCH = 512
Part = TypeVar("Part", bound=nn.Module)


@dataclass(frozen=True)
class WishSettings:
    """What is wished for, and how hard the judges pull; no reader, no wishes.

    A reader's gradients are a hundred times as large as those of rebuilding, so its weights are
    small.

    media: style -> ways to name it. attributes: attribute -> ways to ask for it, with {} for the
    person. Names as the reader has them. weights: of styles, 1 where not named.
    """

    reader: Path | None = None  # export of `facestudio train reader`
    prior: Path | None = None  # the model's, which says what words mean; none: no words
    towers: Path | None = None  # folder of its text towers
    media: dict[str, tuple[str, ...]] = field(default_factory=dict)
    attributes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    share: float = 0.5  # of batches
    by_words: float = 0.5  # of wishes; the others show a picture
    asked: float = 0.6  # of wishes in words that ask for an attribute too
    steps: int = 2  # that pictures will be drawn in
    grain: float = 0.1  # standard deviation of noise over what the reader sees
    draws: int = 4096  # wishes in words that the prior imagines, once
    prior_steps: int = 8
    prior_guidance: float = 3.0
    style_weight: float = 0.02
    asked_weight: float = 0.02
    kept_weight: float = 0.1  # of attributes that are not spoken of: as in the photo
    likeness_weight: float = 0.2


@dataclass(frozen=True)
class WordBank:
    """Wishes in words: styles (N, S), style numbers (N,), attributes (N, K) as 1, 0 or -1."""

    vectors: np.ndarray
    style: np.ndarray
    attributes: np.ndarray


class Wishes:
    """Batches of wishes, and what is to be said of pictures made for them."""

    def __init__(
        self,
        settings: WishSettings,
        data: PreparedSet,
        pool: SamplePool,
        likeness: IdentityLoss,
    ) -> None:
        assert settings.reader is not None
        self.settings, self.data = settings, data
        self.reader = _frozen(PortraitReader.from_pretrained(settings.reader))
        self.codec, self.likeness = likeness.codec, likeness.of_pixels
        self.faces = pool.photos[pool.in_layout[pool.photos]]
        if not len(self.faces):
            raise BadOption("wishes need photos in a portrait's layout; the set has none")
        names = self.reader.styles
        usable = np.isin(np.arange(len(data)), pool.targets)
        styles = np.array([_place(names, style_of(r, self.reader.words_of)) for r in data.records])
        self.pictures = [np.flatnonzero(usable & (styles == k)) for k in range(len(names))]
        chances = [
            settings.weights.get(name, 1.0) * bool(len(rows))
            for name, rows in zip(names, self.pictures, strict=True)
        ]
        if not sum(chances):
            raise BadOption("no picture of the set is in a style that the reader knows")
        self.chances = np.array(chances) / sum(chances)
        self.bank = imagine_words(settings, self.reader) if settings.prior else None

    def batch(self, rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        """Return what a generator is told, and what its pictures are judged by.

        style (B, 1, S), identity (B, 1, D), faces and latents (B, C, h, w). The latents are of
        real pictures in the style, `index` (B,) their places in the set, `shown` (B, 1, S) their
        own styles. wished_style (B,) are numbers, wished (B, K) attributes as 1, 0 or -1; turn (B,)
        is the step that learns from it, from 0 on.
        """
        arrays = self.data.arrays
        faces = rng.choice(self.faces, size)
        style = rng.choice(len(self.chances), size, p=self.chances)
        wished = np.full((size, len(self.reader.attributes)), UNKNOWN, np.float32)
        in_words = rng.random(size) < self.settings.by_words * (self.bank is not None)
        spoken = np.zeros((size, arrays["style"].shape[1]), np.float32)
        if self.bank is not None:
            chosen = rng.integers(len(self.bank.vectors), size=size)
            style[in_words] = self.bank.style[chosen[in_words]]
            wished[in_words] = self.bank.attributes[chosen[in_words]]
            spoken = self.bank.vectors[chosen]
        pictures = [int(rng.choice(self.pictures[each])) for each in style]
        shown = arrays["style"][pictures].astype(np.float32)
        told = {
            "style": np.where(in_words[:, None], spoken, shown)[:, None],
            "shown": shown[:, None],
            "identity": arrays["identity"][faces].astype(np.float32)[:, None],
            "faces": _stacked(arrays["latents"], faces),
            "latents": _stacked(arrays["latents"], pictures),
            "index": np.array(pictures),
            "wished_style": style,
            "wished": wished,
            "turn": rng.integers(self.settings.steps, size=size),
        }
        shape = told["latents"].shape
        for name in ("noise", "blur"):
            told[name] = rng.standard_normal(shape, np.float32)
        told["more_noise"] = rng.standard_normal(
            (size, self.settings.steps - 1, *shape[1:]), np.float32
        )
        return {name: torch.from_numpy(np.ascontiguousarray(each)) for name, each in told.items()}

    @property
    def times(self) -> Tensor:
        """The noise that each step starts from, spaced as a sampler does: (steps,)."""
        steps = self.settings.steps
        return (TIMES * torch.arange(steps, 0, -1) / steps).round().long() - 1

    def decode(self, clean: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
        """Return unclamped pixels (B, 3, H, W) of clean latents, in the style asked for."""
        return self.codec.decode_unclamped(clean, batch["style"][:, 0])

    def judge(self, made: Tensor, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, float]]:
        """Return the loss of pixels (B, 3, H, W) made for a batch of wishes, and figures."""
        chosen, made = self.settings, made.float()
        with torch.no_grad():
            photos = self.codec.decode_unclamped(batch["faces"])
            _, in_photo = self.reader(photos.clamp(-1, 1))
        unlike = self.likeness(made, photos).mean()
        look, seen = (each.float() for each in self.reader(glance(made, chosen.grain)))
        styled = F.cross_entropy(look, batch["wished_style"])
        asked, kept = weigh_attributes(batch["wished"], self.reader.attributes)
        wanted = torch.where(asked > 0, batch["wished"].clamp_min(0), in_photo.float().sigmoid())
        missed = F.binary_cross_entropy_with_logits(seen, wanted, reduction="none")
        refused = (missed * asked).sum() / asked.sum().clamp_min(1)
        strayed = (missed * kept).sum() / kept.sum().clamp_min(1)
        loss = (
            chosen.likeness_weight * unlike
            + chosen.style_weight * styled
            + chosen.asked_weight * refused
            + chosen.kept_weight * strayed
        )
        right = (look.argmax(1) == batch["wished_style"]).float().mean()
        granted = ((seen > 0) & (asked > 0)).sum() / asked.sum().clamp_min(1)
        figures = {"wish_unlike": unlike, "wish_styled": right, "wish_granted": granted}
        return loss, {name: float(each.detach()) for name, each in figures.items()}


def glance(pixels: Tensor, grain: float) -> Tensor:
    """Pixels (B, 3, H, W) as a reader sees them at a glance: grained and shifted by chance.

    What is there only if one looks at single pixels cannot please it.
    """
    down, right = torch.randint(-SHIFT_PX, SHIFT_PX + 1, (2,)).tolist()
    seen = pixels.clamp(-1, 1).roll((down, right), (2, 3))
    return seen + grain * torch.randn_like(seen)


def weigh_attributes(wished: Tensor, names: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Which of the attributes (B, K) were asked for, and which should stay as in the photo.

    Whoever asks for a hair colour or a hat leaves open what else is on the head.
    """
    asked = (wished != UNKNOWN).float()
    head = torch.tensor([float(name in HAIR) for name in names]).to(wished)
    of_head = (asked * head).amax(1, keepdim=True)
    return asked, (1 - asked) * (1 - of_head * head)


def imagine_words(settings: WishSettings, reader: PortraitReader) -> WordBank:
    """What a model's prior imagines for wishes in words, drawn by the settings' chances.

    Raises BadOption where media or attributes have a name that the reader has not.
    """
    names = {*settings.media} - {*reader.styles} | {*settings.attributes} - {*reader.attributes}
    if names or not settings.media:
        raise BadOption(f"wishes: the reader knows no {', '.join(sorted(names)) or 'media'}")
    rng = np.random.default_rng(0)
    styles = list(settings.media)
    chances = np.array([settings.weights.get(style, 1.0) for style in styles])
    picked = rng.choice(len(styles), settings.draws, p=chances / chances.sum())
    attributes = np.full((settings.draws, len(reader.attributes)), UNKNOWN, np.float32)
    texts = []
    for row, number in enumerate(picked):
        person = f"a {PERSON}"
        if settings.attributes and rng.random() < settings.asked:
            attribute = str(rng.choice(list(settings.attributes)))
            person = str(rng.choice(settings.attributes[attribute])).format(PERSON)
            attributes[row, reader.attributes.index(attribute)] = 1
        medium = str(rng.choice(settings.media[styles[number]]))
        texts.append(f"{medium} of {person}")
    style = np.array([reader.styles.index(styles[number]) for number in picked])
    return WordBank(_imagine(settings, texts), style, attributes)


@torch.no_grad()
def _imagine(settings: WishSettings, texts: Sequence[str]) -> np.ndarray:
    """The prior's vectors (N, S) of N texts."""
    if settings.prior is None or settings.towers is None:
        raise BadOption("wishes in words need a prior and its text towers", hint="set towers")
    towers = TextTowers.load(settings.towers)
    prior: EmbeddingPrior = EmbeddingPrior.from_pretrained(settings.prior).eval()
    known = {text: towers([text])[0] for text in dict.fromkeys(texts)}
    generator = torch.Generator().manual_seed(0)
    drawn = [
        prior.sample(
            torch.stack([known[text] for text in texts[start : start + PRIOR_BATCH]]),
            settings.prior_steps,
            generator,
            settings.prior_guidance,
        )
        for start in range(0, len(texts), PRIOR_BATCH)
    ]
    return torch.cat(drawn).numpy()


def _frozen(module: Part) -> Part:
    return module.eval().requires_grad_(False)


def _place(names: Sequence[str], name: str | None) -> int:
    return names.index(name) if name in names else UNKNOWN


def _stacked(rows: Sequence[np.ndarray], chosen: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.stack([rows[int(i)] for i in chosen]).astype(np.float32)
