"""Several people's requests drawn in one run of the sampler: n together equal n alone.

Requests go together if they have one shape: size, steps, strength and guidance scale. Each keeps
its own person, words, style picture, start picture and seeds. Requests by region go alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from facestudio.errors import BadOption
from facestudio.faces.identity import Identity
from facestudio.guidance.adapter import AdapterGuidance
from facestudio.guidance.attention import GuidanceContext
from facestudio.pipeline.adapters import make_adapter_context
from facestudio.pipeline.conditions import make_context, needs_cfg
from facestudio.pipeline.denoise import (
    StepEnd,
    denoise,
    draw_noise,
    saying_what_would_fit,
    start_run,
)
from facestudio.pipeline.output import FaceStudioOutput
from facestudio.pipeline.record import describe_call
from facestudio.pipeline.request import Request
from facestudio.pipeline.scene import Scene, read_scene

if TYPE_CHECKING:
    from facestudio.pipeline.pipeline import FaceStudioPipeline


@dataclass(frozen=True)
class Prepared:
    """One request, all that its pictures follow from, and the noise (n, C, h, w) they start from.

    clean: the latents (1, C, h, w) of the picture to start from, if there is one.
    """

    request: Request
    people: Sequence[Identity | None]
    scene: Scene
    generators: Sequence[Generator]
    seeds: Sequence[int]
    noise: Tensor
    context: GuidanceContext
    clean: Tensor | None


def shape_of(request: Request) -> Hashable | None:
    """What checked requests must share to be drawn together; None: this one is drawn alone."""
    if request.by_region or request.callback_on_step_end is not None:
        return None
    return (
        *request.frame,
        request.num_inference_steps,
        request.guidance_scale,
        request.strength,
        request.output_type,
    )


@torch.no_grad()
def draw_together(
    pipe: FaceStudioPipeline, requests: Sequence[Request], on_step_end: StepEnd | None = None
) -> list[FaceStudioOutput]:
    """The output of each of these checked requests, in their order.

    on_step_end(step, timestep, latents) sees the latents of all and gives those to go on with.
    Raises BadOption where the requests have not one shape, and what `FaceStudioPipeline` raises.
    """
    shapes = {shape_of(request) for request in requests}
    if len(shapes) != 1 or None in shapes:
        raise BadOption(f"{len(requests)} requests of {len(shapes)} shapes; draw each alone")
    count = sum(request.num_images_per_prompt for request in requests)
    with saying_what_would_fit(count, *requests[0].frame):
        runs = [prepare(pipe, request) for request in requests]
        latents: dict[int, Tensor] = {}
        for group in alike(runs):
            latents |= _draw(pipe, group, on_step_end)
        return [develop(pipe, run, latents[id(run)]) for run in runs]


def prepare(pipe: FaceStudioPipeline, request: Request) -> Prepared:
    """All that a checked request's pictures follow from; raises what is wrong with its pictures."""
    from facestudio.pipeline.pipeline import make_generators

    people = [pipe._as_identity(person) for person in request.people]
    size, config = pipe._latent_size(request), pipe.config
    scene = read_scene(request, pipe.detector, size, config.hide_margin, config.portrait)
    generators, seeds = make_generators(request)
    noise = draw_noise((pipe.codec.channels, *size), generators, pipe.like)
    make = make_adapter_context if isinstance(pipe.guidance, AdapterGuidance) else make_context
    context = make(pipe, request, people, scene, generators)
    clean = pipe._encode_canvas(request, scene)
    return Prepared(request, people, scene, generators, seeds, noise, context, clean)


def alike(runs: Sequence[Prepared]) -> Iterator[list[Prepared]]:
    """The runs in groups whose contexts can be joined: what is added counts the same in each."""
    groups: dict[Hashable, list[Prepared]] = {}
    for run in runs:
        key = tuple(tuple(added.weights) for added in run.context.added)
        groups.setdefault(key, []).append(run)
    yield from groups.values()


def join_contexts(contexts: Sequence[GuidanceContext], doubled: bool) -> GuidanceContext:
    """The context of several pictures at once, without regions.

    doubled: each holds cfg's unconditional half first, and so does the result.
    """
    first = contexts[0]
    maps = [context.face_map for context in contexts if context.face_map is not None]
    face_map = join_halves(maps, doubled) if maps else None
    added = [
        replace(one, tokens=join_halves([c.added[i].tokens for c in contexts], doubled))
        for i, one in enumerate(first.added)
    ]
    tokens = join_halves([context.tokens for context in contexts], doubled)
    return GuidanceContext(tokens, face_map=face_map, added=added)


def join_halves(tensors: Sequence[Tensor], doubled: bool) -> Tensor:
    """Batches one after the other; doubled: all first halves, then all second halves."""
    if not doubled:
        return torch.cat(list(tensors))
    halves = [tensor.chunk(2) for tensor in tensors]
    return torch.cat([half[0] for half in halves] + [half[1] for half in halves])


def develop(pipe: FaceStudioPipeline, run: Prepared, latents: Tensor) -> FaceStudioOutput:
    """What a call gives back, from its latents (n, C, h, w)."""
    images, likeness = pipe._develop(run.request, latents, run.people, run.scene)
    settings = describe_call(run.request, run.people, run.scene, run.seeds, pipe._describe())
    return FaceStudioOutput(images, likeness, list(run.seeds), settings)


def _draw(
    pipe: FaceStudioPipeline, runs: Sequence[Prepared], on_step_end: StepEnd | None
) -> dict[int, Tensor]:
    """Latents (n, C, h, w) of each run, by its id."""
    request = runs[0].request
    steps, scale = request.num_inference_steps, request.guidance_scale
    assert steps is not None
    assert scale is not None
    counts = [len(run.seeds) for run in runs]
    context = join_contexts([run.context for run in runs], needs_cfg(request))
    clean = [run.clean.expand_as(run.noise) for run in runs if run.clean is not None]
    noise = torch.cat([run.noise for run in runs])
    canvas = torch.cat(clean) if clean else None
    start = start_run(pipe.scheduler, steps, noise, canvas, request.strength)
    generators = [generator for run in runs for generator in run.generators]
    latents = denoise(pipe.unet, start, context, scale, generators, None, on_step_end)
    return {id(run): part for run, part in zip(runs, latents.split(counts), strict=True)}
