"""From noise to latents: the sampler's loop, for any scheduler of diffusers.

A scheduler keeps the state of its run, so each run works on a copy. Each picture has a generator
of its own for everything that is drawn: a batch of n equals n of one.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.utils.torch_utils import randn_tensor
from torch import Generator, Tensor

from facestudio.errors import OutOfMemory
from facestudio.guidance.attention import GuidanceContext, call_unet
from facestudio.pipeline.speed import EXACT, SpeedSettings

StepEnd = Callable[[int, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Hold:
    """Latents held fixed where nobody is, as in inpainting.

    clean, noise: (B, C, h, w); free: (h, w), 1 where the sampler may draw and 0 where it may not.
    """

    clean: Tensor
    noise: Tensor
    free: Tensor

    def apply(self, latents: Tensor, scheduler: Any, timestep: Tensor | None) -> Tensor:
        """Latents with the held part at the noise of `timestep`; None: without noise."""
        held = self.clean
        if timestep is not None:
            held = scheduler.add_noise(held, self.noise, timestep.expand(len(held)))
        return torch.where(self.free.bool(), latents, held)


@dataclass(frozen=True)
class Start:
    """Where a run begins: latents (B, C, h, w) and a scheduler of its own set to its steps."""

    scheduler: Any
    latents: Tensor
    timesteps: Tensor


def draw_noise(shape: Sequence[int], generators: Sequence[Generator], like: Tensor) -> Tensor:
    """Standard normal (n, *shape), each picture's from its own generator, as `like` is stored."""
    size = (len(generators), *shape)
    return randn_tensor(size, list(generators), like.device, like.dtype)


def start_run(
    scheduler: Any, steps: int, noise: Tensor, clean: Tensor | None, strength: float | None
) -> Start:
    """The start of a run: from noise alone, or from `clean` latents noised by `strength`.

    strength in 0...1 is the share of the steps that are taken.
    """
    scheduler = copy.deepcopy(scheduler)
    scheduler.set_timesteps(steps, device=noise.device)
    skipped = 0
    if strength is not None:
        skipped = steps - max(1, min(round(steps * strength), steps))
    first = skipped * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    timesteps = scheduler.timesteps[first:]
    if strength is None or clean is None:
        return Start(scheduler, noise * scheduler.init_noise_sigma, timesteps)
    at = timesteps[:1].expand(len(noise))
    return Start(scheduler, scheduler.add_noise(clean.expand_as(noise), noise, at), timesteps)


def denoise(
    unet: UNet2DConditionModel,
    start: Start,
    context: GuidanceContext,
    guidance_scale: float,
    generators: Sequence[Generator],
    hold: Hold | None = None,
    on_step_end: StepEnd | None = None,
    speed: SpeedSettings = EXACT,
) -> Tensor:
    """Latents (B, C, h, w) at the end of the run.

    With twice as many rows of tokens as latents, the first half is the unconditional one of
    classifier-free guidance. on_step_end(step, timestep, latents) gives the latents to go on with.
    speed: where in the run guidance counts.
    """
    scheduler, latents, steps = start.scheduler, start.latents, len(start.timesteps)
    unguided = conditional_half(context) if len(context.tokens) > len(latents) else context
    extra = step_options(scheduler, generators)
    if hold is not None:
        latents = hold.apply(latents, scheduler, start.timesteps[0])
    for step, timestep in enumerate(start.timesteps):
        told = context if speed.guides(step, steps) else unguided
        prediction = predict(unet, scheduler, latents, timestep, told, guidance_scale)
        latents = scheduler.step(prediction, timestep, latents, **extra).prev_sample
        if hold is not None:
            after = start.timesteps[step + 1] if step + 1 < len(start.timesteps) else None
            latents = hold.apply(latents, scheduler, after)
        if on_step_end is not None:
            latents = on_step_end(step, timestep, latents)
    return latents


def conditional_half(context: GuidanceContext) -> GuidanceContext:
    """The context without the first, unconditional half of its rows."""
    half = len(context.tokens) // 2
    added = [replace(one, tokens=one.tokens[half:]) for one in context.added]
    face_map = None if context.face_map is None else context.face_map[half:]
    return GuidanceContext(context.tokens[half:], context.masks, face_map, added)


def predict(
    unet: UNet2DConditionModel,
    scheduler: Any,
    latents: Tensor,
    timestep: Tensor,
    context: GuidanceContext,
    guidance_scale: float,
) -> Tensor:
    """The U-Net's prediction (B, C, h, w), moved away from the unconditional one, if any.

    The U-Net is called in the context's dtype; what comes back and is added up has the latents'.
    """
    doubled = len(context.tokens) == 2 * len(latents)
    inputs = scheduler.scale_model_input(torch.cat([latents] * 2) if doubled else latents, timestep)
    told = call_unet(unet, inputs.to(context.tokens.dtype), timestep, context)
    prediction = told.to(latents.dtype)
    if not doubled:
        return prediction
    without, given = prediction.chunk(2)
    return without + guidance_scale * (given - without)


def step_options(scheduler: Any, generators: Sequence[Generator]) -> dict[str, Any]:
    """The generators, for schedulers whose steps draw noise."""
    takes = inspect.signature(scheduler.step).parameters
    return {"generator": list(generators)} if "generator" in takes else {}


@contextmanager
def saying_what_would_fit(count: int, height: int, width: int) -> Iterator[None]:
    """Turn running out of memory in the block into OutOfMemory with what would fit."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error).lower():
            raise
        fits = f"{count // 2} at a time" if count > 1 else "a smaller height and width"
        raise OutOfMemory(
            f"memory ran out over {count} pictures of {width}×{height}", hint=f"try {fits}"
        ) from error
