"""From noise to latents: the sampler's loop, for any scheduler of diffusers.

A scheduler keeps the state of its run, so each run works on a copy. Each picture has a generator
of its own for everything that is drawn: a batch of n equals n of one.
"""

from __future__ import annotations

import copy
import inspect
import math
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

FEW_STEPS = 6
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
    scheduler: Any,
    steps: int,
    noise: Tensor,
    clean: Tensor | None,
    strength: float | None,
    time_shift: float = 1.0,
) -> Start:
    """The start of a run: from noise alone, or from `clean` latents noised by `strength`.

    strength in 0...1 is the share of the steps that are taken, as in diffusers. time_shift: see
    `shift_times`; a run that starts from a picture keeps the scheduler's own times.
    """
    scheduler = copy.deepcopy(scheduler)
    planned, taken = plan_steps(steps, strength)
    scheduler.set_timesteps(planned, device=noise.device)
    if strength is None:
        shift_times(scheduler, time_shift)
    first = (planned - taken) * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)
    timesteps = scheduler.timesteps[first:]
    if strength is None or clean is None:
        return Start(scheduler, noise * scheduler.init_noise_sigma, timesteps)
    at = timesteps[:1].expand(len(noise))
    return Start(scheduler, scheduler.add_noise(clean.expand_as(noise), noise, at), timesteps)


def shift_times(scheduler: Any, shift: float) -> None:
    """Move the times of a planned run towards more noise, for a shift over 1; in place.

    A share t of all noise becomes shift t / (1 + (shift - 1) t): for few steps, which so spend more
    of the way where the picture is made out. Source: Esser et al., Scaling Rectified Flow
    Transformers (arXiv 2403.03206), section 5.3.2. Only for schedulers that count noise in sigmas,
    one a step; others keep their times.
    """
    sigmas, times = getattr(scheduler, "sigmas", None), scheduler.timesteps
    if shift == 1 or sigmas is None or len(sigmas) != len(times) + 1:
        return
    kept = scheduler.alphas_cumprod.double()
    all_sigmas = ((1 - kept) / kept).sqrt()
    share = (times.double() + 1) / len(kept)
    moved = (share * shift / (1 + (shift - 1) * share) * len(kept) - 1).round()
    scheduler.timesteps = moved.to(times)
    scheduler.sigmas = torch.cat([all_sigmas.to(sigmas)[moved.long().cpu()], sigmas[-1:]])


def plan_steps(steps: int, strength: float | None) -> tuple[int, int]:
    """How many steps the way from noise alone has, and how many of them, the last, are taken.

    Where a model draws in FEW_STEPS or fewer there is hardly a choice among them: the way then gets
    so many more steps that the noise it starts from is that of `strength`.
    """
    if strength is None:
        return steps, steps
    taken = max(1, min(round(steps * strength), steps))
    if steps > FEW_STEPS or not strength:
        return steps, taken
    return max(steps, math.ceil(taken / strength - 1e-6)), taken


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
    speed: where in the run guidance counts, and how often it is renewed.
    """
    scheduler, latents = start.scheduler, start.latents
    predicted = Predictor(unet, start, context, guidance_scale, speed)
    extra = step_options(scheduler, generators)
    if hold is not None:
        latents = hold.apply(latents, scheduler, start.timesteps[0])
    for step, timestep in enumerate(start.timesteps):
        prediction = predicted(step, timestep, latents)
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


class Predictor:
    """Predictions of one run: classifier-free guidance counts, and is renewed, as `speed` says."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        start: Start,
        context: GuidanceContext,
        guidance_scale: float,
        speed: SpeedSettings,
    ) -> None:
        self.unet, self.scheduler, self.speed = unet, start.scheduler, speed
        self.steps, self.scale = len(start.timesteps), guidance_scale
        self.doubled = len(context.tokens) > len(start.latents)
        self.context = context
        self.given = conditional_half(context) if self.doubled else context
        self._pull: Tensor | None = None  # from without the guidance to with it, as last computed

    def __call__(self, step: int, timestep: Tensor, latents: Tensor) -> Tensor:
        """The prediction (B, C, h, w) at a step of the run."""
        guides = self.doubled and self.speed.guides(step, self.steps)
        if guides and (self._pull is None or self.speed.renews_guidance(step)):
            rows = predict_rows(self.unet, self.scheduler, latents, timestep, self.context)
            guided, self._pull = pull_away(rows, self.scale)
            return guided
        given = predict_rows(self.unet, self.scheduler, latents, timestep, self.given)
        return given + (self.scale - 1) * self._pull if guides and self._pull is not None else given


def predict(
    unet: UNet2DConditionModel,
    scheduler: Any,
    latents: Tensor,
    timestep: Tensor,
    context: GuidanceContext,
    guidance_scale: float,
) -> Tensor:
    """The U-Net's prediction (B, C, h, w), moved away from the unconditional one, if any."""
    rows = predict_rows(unet, scheduler, latents, timestep, context)
    return rows if len(rows) == len(latents) else pull_away(rows, guidance_scale)[0]


def predict_rows(
    unet: UNet2DConditionModel,
    scheduler: Any,
    latents: Tensor,
    timestep: Tensor,
    context: GuidanceContext,
) -> Tensor:
    """The U-Net's prediction for each of the context's rows: as many as latents, or twice as many.

    The U-Net is called in the context's dtype; what comes back and is added up has the latents'.
    """
    doubled = len(context.tokens) == 2 * len(latents)
    inputs = scheduler.scale_model_input(torch.cat([latents] * 2) if doubled else latents, timestep)
    return call_unet(unet, inputs.to(context.tokens.dtype), timestep, context).to(latents.dtype)


def pull_away(rows: Tensor, guidance_scale: float) -> tuple[Tensor, Tensor]:
    """The guided prediction of both halves (2B, C, h, w), and their difference: (B, C, h, w) each.

    The first half of the rows is the unconditional one.
    """
    without, given = rows.chunk(2)
    pull = given - without
    return without + guidance_scale * pull, pull


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
