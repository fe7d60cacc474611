"""Several people's requests drawn in one run of the sampler: n together equal n alone.

Requests go together if they have one shape: size, steps, guidance scale and speed. Each keeps its
own person, words, style picture and seeds. What holds on to a picture goes alone: requests by
region, from a start picture, or with a control picture.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from facestudio.errors import BadOption
from facestudio.guidance.attention import GuidanceContext
from facestudio.pipeline.conditions import needs_cfg
from facestudio.pipeline.denoise import saying_what_would_fit
from facestudio.pipeline.output import FaceStudioOutput
from facestudio.pipeline.request import Callback, Request
from facestudio.pipeline.run import Prepared, finish_together, prepare_together

if TYPE_CHECKING:
    from facestudio.pipeline.pipeline import FaceStudioPipeline


def shape_of(request: Request) -> Hashable | None:
    """What checked requests must share to be drawn together; None: this one is drawn alone."""
    held = request.by_region or request.image is not None or request.control_images
    if held or request.callback_on_step_end is not None:
        return None
    kept = ("num_inference_steps", "guidance_scale", "output_type", "speed")
    return (*request.frame, *(getattr(request, name) for name in kept))


@torch.no_grad()
def draw_together(
    pipe: FaceStudioPipeline, requests: Sequence[Request], callback: Callback | None = None
) -> list[FaceStudioOutput]:
    """The output of each of these checked requests, in their order.

    callback: as `callback_on_step_end`; it sees the latents of all.
    Raises BadOption where the requests have not one shape, and what `FaceStudioPipeline` raises.
    """
    shapes = {shape_of(request) for request in requests}
    if len(shapes) != 1 or None in shapes:
        raise BadOption(f"{len(requests)} requests of {len(shapes)} shapes; draw each alone")
    count = sum(request.num_images_per_prompt for request in requests)
    with saying_what_would_fit(count, *requests[0].frame):
        runs = prepare_together(pipe, requests)
        latents: dict[int, Tensor] = {}
        for group in alike(runs):
            latents |= _draw(pipe, group, callback)
        return finish_together(pipe, runs, [latents[id(run)] for run in runs])


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


def _draw(
    pipe: FaceStudioPipeline, runs: Sequence[Prepared], callback: Callback | None
) -> dict[int, Tensor]:
    """Latents (n, C, h, w) of each run, by its id."""
    request = replace(runs[0].request, callback_on_step_end=callback)
    context = join_contexts([run.context for run in runs], needs_cfg(request))
    noise = torch.cat([run.noise for run in runs])
    generators = [generator for run in runs for generator in run.generators]
    latents = pipe._draw(request, runs[0].scene, context, noise, generators)
    parts = latents.split([len(run.seeds) for run in runs])
    return {id(run): part for run, part in zip(runs, parts, strict=True)}
