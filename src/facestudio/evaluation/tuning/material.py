"""What a method is tuned on and by: a person's photos as latents, words as styles, the loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from PIL import Image, ImageOps
from torch import Generator, Tensor
from torch.nn import functional as F

from facestudio.errors import BadModel, MissingWeights
from facestudio.guidance.attention import GuidanceContext
from facestudio.guidance.face_map import lay_out
from facestudio.guidance.hybrid import HybridGuidance
from facestudio.pipeline.conditions import imagine, split_embeddings
from facestudio.pipeline.denoise import predict
from facestudio.pipeline.pipeline import FaceStudioPipeline
from facestudio.pipeline.request import Request, check_request
from facestudio.pipeline.scene import read_scene, to_pixels

STYLE_DRAWS = 32  # of what the prompt could look like
TOGETHER = 8  # pictures drawn at once


@dataclass(frozen=True)
class Base:
    """The model that all methods share, and what does not depend on the person.

    scheduler: adds the noise that the model was trained with. styles (n, style_dim): e_T of the
    prompt. nobody (n, C, h, w): latents of pictures that the model draws by the prompt alone,
    for prior preservation.
    """

    pipe: FaceStudioPipeline
    prompt: str
    scheduler: DDPMScheduler
    styles: Tensor
    nobody: Tensor

    def pick_styles(self, count: int, generator: Generator) -> Tensor:
        """Styles (count, style_dim), drawn from those of the prompt."""
        return self.styles[draw_index(len(self.styles), count, generator)]


def imagine_styles(pipe: FaceStudioPipeline, prompt: str, seed: int) -> Tensor:
    """e_T (STYLE_DRAWS, style_dim) of the prompt."""
    generators = [Generator().manual_seed(seed + i) for i in range(STYLE_DRAWS)]
    with torch.no_grad():
        return imagine(pipe, prompt, generators)


def training_scheduler(pipe: FaceStudioPipeline) -> DDPMScheduler:
    """The noise that the pipeline's scheduler takes away. Raises BadModel for another kind."""
    if getattr(pipe.scheduler.config, "beta_schedule", None) is None:
        kind = type(pipe.scheduler).__name__
        raise BadModel(f"the scheduler {kind} has no betas; methods are tuned by DDPM's loss")
    return DDPMScheduler.from_config(pipe.scheduler.config)


def check_base(pipe: FaceStudioPipeline) -> None:
    """Raise BadModel or MissingWeights for a model on which no method can be tuned."""
    if not isinstance(pipe.guidance, HybridGuidance):
        kind = type(pipe.guidance).__name__
        raise BadModel(f"methods are tuned on a model of HybridGuidance; this one has {kind}")
    if pipe.text_towers is None or pipe.image_towers is None:
        wanted = "takes words" if pipe.text_towers is None else "takes style pictures"
        hint = "choose another model for the table"
        raise MissingWeights(f"the table needs a model that {wanted}", hint=hint)
    training_scheduler(pipe)


def draw_nobody(
    pipe: FaceStudioPipeline, prompt: str, count: int, seed: int, **options: Any
) -> Tensor:
    """Latents (count, C, h, w) of pictures by the prompt alone; options of the pipeline's call."""
    parts = [
        pipe(
            None,
            prompt,
            seed=seed + start,
            num_images_per_prompt=min(TOGETHER, count - start),
            output_type="latent",
            **options,
        ).images
        for start in range(0, count, TOGETHER)
    ]
    return torch.cat(parts)


def encode_photos(pipe: FaceStudioPipeline, photos: Sequence[Image.Image]) -> Tensor:
    """Latents (2n, C, h, w) of photos and their mirror images, framed as the pipeline does."""
    framed = [frame_photo(pipe, photo) for photo in photos]
    pixels = [to_pixels(each) for photo in framed for each in (photo, ImageOps.mirror(photo))]
    with torch.no_grad():
        return pipe.codec.encode(torch.cat(pixels).to(pipe.like))


def frame_photo(pipe: FaceStudioPipeline, photo: Image.Image) -> Image.Image:
    """The photo as the pipeline would start an image-to-image from it."""
    asked = Request(people=(None,), image=photo, prompt="-")
    request = check_request(asked, pipe.limits)
    size = (request.frame[0] // pipe.codec.factor, request.frame[1] // pipe.codec.factor)
    config = pipe.config
    canvas = read_scene(request, pipe.detector, size, config.hide_margin, config.portrait).canvas
    assert canvas is not None
    return canvas


def guide(pipe: FaceStudioPipeline, styles: Tensor, told: Tensor) -> GuidanceContext:
    """The guidance of styles (B, style_dim) and identity vectors (B, D); gradients pass."""
    e_f, maps = split_embeddings(told, pipe)
    tokens = pipe.guidance(styles, e_f)[:, None]
    if maps is None:
        return GuidanceContext(tokens)
    limits, factor = pipe.limits, pipe.codec.factor
    size = limits.height // factor, limits.width // factor
    placed = [lay_out(own, None, size) for own in maps[:, None]]
    return GuidanceContext(tokens, face_map=torch.cat(placed))


def noise_loss(
    unet: UNet2DConditionModel,
    scheduler: DDPMScheduler,
    latents: Tensor,
    context: GuidanceContext,
    generator: Generator,
) -> Tensor:
    """Squared error (B,) of the U-Net's prediction of latents (B, C, h, w) at drawn times."""
    steps = scheduler.config.num_train_timesteps
    t = torch.randint(steps, (len(latents),), generator=generator).to(latents.device)
    noise = torch.randn(latents.shape, generator=generator).to(latents)
    noisy = scheduler.add_noise(latents, noise, t)
    predicted = predict(unet, scheduler, noisy, t, context, guidance_scale=1.0)
    wanted = target_of(scheduler, latents, noise, t)
    return F.mse_loss(predicted, wanted, reduction="none").flatten(1).mean(1)


def target_of(scheduler: DDPMScheduler, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """What the model predicts, by the scheduler's prediction type."""
    kind = scheduler.config.prediction_type
    if kind == "v_prediction":
        return scheduler.get_velocity(latents, noise, t)
    return {"epsilon": noise, "sample": latents}[kind]


def draw_index(size: int, count: int, generator: Generator) -> Tensor:
    """Numbers (count,) below `size`."""
    return torch.randint(size, (count,), generator=generator)


@contextmanager
def frozen(pipe: FaceStudioPipeline) -> Iterator[None]:
    """No weight of the pipeline takes gradients inside the block."""
    weights = [w for network in pipe.networks().values() for w in network.parameters()]
    before = [weight.requires_grad for weight in weights]
    try:
        for weight in weights:
            weight.requires_grad_(False)
        yield
    finally:
        for weight, wanted in zip(weights, before, strict=True):
            weight.requires_grad_(wanted)
