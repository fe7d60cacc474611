"""A checked request's way to its output: what its pictures follow from, and what comes of them.

One request and several drawn together (`batch.py`) take the same way.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from facestudio.faces.identity import Identity
from facestudio.guidance.adapter import AdapterGuidance
from facestudio.guidance.attention import GuidanceContext
from facestudio.pipeline.adapters import make_adapter_context
from facestudio.pipeline.conditions import Imagined, imagine_together, make_context
from facestudio.pipeline.cores import on_all_cores
from facestudio.pipeline.denoise import draw_noise
from facestudio.pipeline.embed_cache import RememberedFaces
from facestudio.pipeline.output import FaceStudioOutput
from facestudio.pipeline.record import describe_call
from facestudio.pipeline.request import Request
from facestudio.pipeline.scene import Scene, read_scene

if TYPE_CHECKING:
    from facestudio.pipeline.pipeline import FaceStudioPipeline


@dataclass(frozen=True)
class Prepared:
    """One request and all that its pictures follow from; noise is (n, C, h, w)."""

    request: Request
    people: Sequence[Identity | None]
    scene: Scene
    generators: Sequence[Generator]
    seeds: Sequence[int]
    noise: Tensor
    context: GuidanceContext


def prepare(pipe: FaceStudioPipeline, request: Request) -> Prepared:
    """All that a checked request's pictures follow from; raises what is wrong with its pictures."""
    return _prepare(pipe, request, *make_generators(request))


def prepare_together(pipe: FaceStudioPipeline, requests: Sequence[Request]) -> list[Prepared]:
    """As `prepare` for each of several requests; their words go through the prior in one run."""
    drawn = [make_generators(request) for request in requests]
    if isinstance(pipe.guidance, AdapterGuidance):
        return [_prepare(pipe, one, *own) for one, own in zip(requests, drawn, strict=True)]
    imagined = imagine_together(pipe, requests, [generators for generators, _ in drawn])
    return [
        _prepare(pipe, request, generators, seeds, words)
        for request, (generators, seeds), words in zip(requests, drawn, imagined, strict=True)
    ]


def _prepare(
    pipe: FaceStudioPipeline,
    request: Request,
    generators: Sequence[Generator],
    seeds: Sequence[int],
    imagined: Imagined | None = None,
) -> Prepared:
    people = [pipe._as_identity(person) for person in request.people]
    size, config = pipe._latent_size(request), pipe.config
    detector = RememberedFaces(pipe.detector, pipe.embed_cache)
    scene = read_scene(request, detector, size, config.hide_margin, config.portrait)
    noise = draw_noise((pipe.codec.channels, *size), generators, pipe.like)
    given = (pipe, request, people, scene, generators)
    if isinstance(pipe.guidance, AdapterGuidance):
        context = make_adapter_context(*given)
    else:
        context = make_context(*given, imagined)
    return Prepared(request, people, scene, generators, seeds, noise, context)


def make_generators(request: Request) -> tuple[list[Generator], list[int]]:
    """One generator per picture, and each one's seed: seed + i, or of the generators given.

    A single generator given for several pictures serves them one after the other.
    """
    count, given = request.num_images_per_prompt, request.generator
    if isinstance(given, Generator):
        given = [given] * count
    if given is None:
        first = secrets.randbelow(2**31) if request.seed is None else int(request.seed)
        given = [Generator().manual_seed(first + i) for i in range(count)]
    return list(given), [generator.initial_seed() for generator in given]


@torch.no_grad()
def finish(pipe: FaceStudioPipeline, run: Prepared, latents: Tensor) -> FaceStudioOutput:
    """The output of a prepared request whose latents (n, C, h, w) have been drawn."""
    told = (run.request, latents, run.people, run.scene, run.context.style)
    images, likeness, withheld = pipe._develop(*told)
    settings = describe_call(run.request, run.people, run.scene, run.seeds, pipe._describe())
    return FaceStudioOutput(images, likeness, list(run.seeds), settings, withheld)


def finish_together(
    pipe: FaceStudioPipeline, runs: Sequence[Prepared], latents: Sequence[Tensor]
) -> list[FaceStudioOutput]:
    """As `finish` for each of several requests, on all cores: marks and faces take one each."""
    return on_all_cores(partial(finish, pipe), runs, latents)
