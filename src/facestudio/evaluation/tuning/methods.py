"""Methods that are tuned for each person, on the base that the model itself is.

Textual Inversion (Gal et al., arXiv 2208.01618) seeks the input that makes the frozen model draw
the person: here the identity vector, all of it, where the original has a word's embedding.
DreamBooth (Ruiz et al., arXiv 2208.12242) tunes the whole U-Net on the person's photos under a
rare identifier, here an identity vector that is nobody's, and on pictures of nobody that
the untuned model drew, so that it does not forget what people look like.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from facestudio.evaluation.tuning.material import Base, draw_index, frozen, guide, noise_loss
from facestudio.evaluation.tuning.settings import TunedSettings
from facestudio.faces.calibration import unit_rms
from facestudio.faces.embed import encoder_id
from facestudio.faces.identity import Identity
from facestudio.pipeline.pipeline import FaceStudioPipeline

IDENTIFIER_SEED = 7


@dataclass(frozen=True)
class Fitted:
    """A method fitted to a person: the pipeline and the identity to draw with, and what it took."""

    iterations: int
    seconds: float
    pipe: FaceStudioPipeline
    identity: Identity


def invert(
    base: Base, photos: Tensor, settings: TunedSettings, rate: float, generator: Generator
) -> Iterator[Fitted]:
    """Textual Inversion on latents (n, C, h, w), after each number of iterations.

    The vector starts as nobody's (zero), the class that the person belongs to; Adam, the U-Net
    and all else frozen.
    """
    pipe = base.pipe
    told = torch.zeros(1, pipe.identity_encoder.dimension).to(pipe.like).requires_grad_(True)

    def loss() -> Tensor:
        latents = photos[draw_index(len(photos), settings.batch, generator)]
        styles = base.pick_styles(settings.batch, generator)
        context = guide(pipe, styles, told.expand(settings.batch, -1))
        return noise_loss(pipe.unet, base.scheduler, latents, context, generator).mean()

    with frozen(pipe):
        optimizer = torch.optim.Adam([told], rate)
        for iterations, seconds in descend(optimizer, loss, settings.iterations):
            yield Fitted(iterations, seconds, pipe, identity_of(pipe, told.detach()[0]))


def tune_network(
    base: Base,
    photos: Tensor,
    settings: TunedSettings,
    rate: float,
    generator: Generator,
    prior_weight: float = 1.0,
) -> Iterator[Fitted]:
    """DreamBooth on latents (n, C, h, w), after each number of iterations.

    Each iteration sees `batch` photos under the identifier and as many of the base's pictures of
    nobody; AdamW over a copy of the U-Net, the base stays as it is.
    """
    tuned = copy.copy(base.pipe)
    tuned.unet = copy.deepcopy(base.pipe.unet).requires_grad_(True)
    identifier = make_identifier(base.pipe)
    told = torch.from_numpy(identifier.embedding).to(tuned.like)
    rows = torch.stack([told] * settings.batch + [torch.zeros_like(told)] * settings.batch)

    def loss() -> Tensor:
        person = photos[draw_index(len(photos), settings.batch, generator)]
        nobody = base.nobody[draw_index(len(base.nobody), settings.batch, generator)]
        styles = base.pick_styles(len(rows), generator)
        context = guide(tuned, styles, rows)
        latents = torch.cat([person, nobody.to(person)])
        losses = noise_loss(tuned.unet, base.scheduler, latents, context, generator)
        own, kept = losses.chunk(2)
        return own.mean() + prior_weight * kept.mean()

    with frozen(base.pipe):
        optimizer = torch.optim.AdamW(tuned.unet.parameters(), rate)
        for iterations, seconds in descend(optimizer, loss, settings.iterations):
            yield Fitted(iterations, seconds, tuned, identifier)


def descend(
    optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor], stops: Sequence[int]
) -> Iterator[tuple[int, float]]:
    """Iterate, and at each stop give the iterations done and the seconds they took in all."""
    seconds, started = 0.0, time.perf_counter()
    for iteration in range(1, max(stops) + 1):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        if iteration in stops:
            seconds += time.perf_counter() - started
            yield iteration, seconds
            started = time.perf_counter()


def make_identifier(pipe: FaceStudioPipeline) -> Identity:
    """An identity that means nobody yet: a random recogniser's vector and nothing besides."""
    vector = np.zeros(pipe.identity_encoder.dimension, np.float32)
    count = pipe.identity_encoder.compare_dim
    drawn = np.random.default_rng(IDENTIFIER_SEED).standard_normal(count)
    vector[:count] = unit_rms(drawn.astype(np.float32))
    return identity_of(pipe, torch.from_numpy(vector))


def identity_of(pipe: FaceStudioPipeline, vector: Tensor) -> Identity:
    """The vector (D,) as an Identity, as it is."""
    embedding = vector.float().cpu().numpy().copy()
    encoder = pipe.identity_encoder
    return Identity(embedding, encoder_id(encoder), encoder.compare_dim, embedding[None])
