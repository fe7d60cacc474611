"""FaceStudioPipeline: a person, and words or a style picture, become a portrait.

The call reads as the paper does: faces, a style picture and words become the guidance, and the
U-Net draws under it (FaceStudio, arXiv 2312.02663).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from PIL.Image import Image
from torch import Generator, Tensor

from facestudio._garbage import leaving_garbage
from facestudio.errors import BadOption
from facestudio.faces.align import align_face
from facestudio.faces.detect import Detector, Face, find_face
from facestudio.faces.embed import encoder_id
from facestudio.faces.identity import Identity, load_identity
from facestudio.guidance.attention import GuidanceContext
from facestudio.images import PictureLike, read_picture
from facestudio.pipeline.control import add_control
from facestudio.pipeline.denoise import (
    Hold,
    StepEnd,
    denoise,
    saying_what_would_fit,
    start_run,
)
from facestudio.pipeline.embed_cache import RememberedFaces, hash_picture
from facestudio.pipeline.folder import find_model
from facestudio.pipeline.heap import give_back
from facestudio.pipeline.layout import settle
from facestudio.pipeline.likeness import measure_likeness
from facestudio.pipeline.load import load_parts, save_parts
from facestudio.pipeline.output import FaceStudioOutput
from facestudio.pipeline.parts import Parts
from facestudio.pipeline.precision import choose_device, read_dtype
from facestudio.pipeline.request import (
    MAX_PX,
    Callback,
    Request,
    list_controls,
    list_people,
)
from facestudio.pipeline.reuse import reuse
from facestudio.pipeline.run import finish, prepare
from facestudio.pipeline.scene import Scene, to_output, to_pictures, to_pixels
from facestudio.pipeline.speed import SpeedSettings, read_speed
from facestudio.provenance.content import ContentChecker, ContentWarning
from facestudio.provenance.watermark import watermark_of

Person = Identity | PictureLike | None


class FaceStudioPipeline(Parts):
    """Draw people from one photo each, in the manner of words, of a style picture, or of both.

    content_checker: pictures that it calls explicit come out grey; page and server set it where
    one is installed (`provenance.content.find_checker`). lean: memory is given back to the system
    between a picture's stages, at some milliseconds each.
    """

    content_checker: ContentChecker | None = None
    lean: bool = False

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        torch_dtype: torch.dtype | str | None = None,
        device: torch.device | str | None = None,
        keep_encoders: bool = True,
        detector: Detector | None = None,
    ) -> Self:
        """The pipeline in a model folder, of a shipped model ("mini") or of a hub's.

        A hub is asked only for what is not on this machine. torch_dtype, device: of the networks,
        whatever the stored weights have; by default the best here (`precision.py`), a graphics card
        before the processor. On a processor, bf16 networks are packed (`packed.py`): call
        `unpack()` before you change their weights. detector: finds faces in place of dlib's.
        keep_encoders: False for little memory; see docs/speed.md.
        Raises MissingWeights, BadModel, BadOption.
        """
        place = choose_device() if device is None else torch.device(device)
        dtype = read_dtype(torch_dtype, place)
        packed = place.type == "cpu"
        folder = find_model(name)
        with leaving_garbage():
            pipe = cls(**load_parts(folder, dtype, detector, keep_encoders, packed))
        pipe.lean = not keep_encoders
        if pipe.lean:
            give_back()
        return pipe.pack() if packed else pipe.to(place)

    def save_pretrained(self, folder: str | Path, *, half: bool | torch.dtype = False) -> None:
        """Write a model folder that `from_pretrained` reads.

        half: weights as fp16, or as the 16-bit type given.
        """
        save_parts(self, Path(folder), half=half)

    def identity(self, *photos: PictureLike, largest: bool = False) -> Identity:
        """The Identity of the person in one or several photos.

        largest: of several faces take the most central large one rather than raise SeveralFaces.
        Raises PictureError naming the photo.
        """
        if not photos:
            raise BadOption("identity() got no photo: give one or several of the same person")
        encoder = self.identity_encoder
        key = ("identity", largest, *(hash_picture(read_picture(photo)) for photo in photos))
        makers = (encoder, self.detector)
        vectors = self.embed_cache.get(key, makers, lambda: self._embed(photos, largest))
        return Identity.from_photos(vectors, encoder)

    def _embed(self, photos: Sequence[PictureLike], largest: bool) -> np.ndarray:
        """The encoder's vectors (n, dimension) of the one face in each photo."""
        found = [self.find_face(photo, largest=largest) for photo in photos]
        crops = np.stack([align_face(picture, face.eyes) for picture, face in found])
        return self.identity_encoder.embed(crops)

    def find_face(self, photo: PictureLike, *, largest: bool = False) -> tuple[Image, Face]:
        """The photo upright and the one face in it. Raises PictureError naming the photo."""
        picture = read_picture(photo)
        file = str(photo) if isinstance(photo, (str, Path)) else None
        return picture, find_face(picture, self.detector, largest=largest, file=file)

    @torch.no_grad()
    def __call__(
        self,
        identity: Person | Sequence[Person] = None,
        prompt: str | None = None,
        *,
        style: PictureLike | None = None,
        alpha: float | None = None,
        image: PictureLike | None = None,
        strength: float | None = None,
        regions: Sequence[Any] | None = None,
        background: str = "style",
        identity_scale: float = 1.0,
        style_scale: float = 1.0,
        guidance_scale: float | None = None,
        negative_prompt: str | None = None,
        num_inference_steps: int | None = None,
        num_images_per_prompt: int = 1,
        height: int | None = None,
        width: int | None = None,
        seed: int | None = None,
        generator: Generator | Sequence[Generator] | None = None,
        output_type: str = "pil",
        watermark: bool = True,
        control_image: PictureLike | Sequence[PictureLike] | None = None,
        controlnet_conditioning_scale: float | Sequence[float] = 1.0,
        callback_on_step_end: Callback | None = None,
        speed: SpeedSettings | dict[str, Any] | str | None = None,
    ) -> FaceStudioOutput:
        """Pictures of `identity`: a photo, an Identity, a list of them, or None for nobody.

        prompt, style: words and a style picture, one at least; `image` stands in for both.
        alpha: 0 words alone to 1 style picture alone; by default what is given, of both half.
        image, strength: start from this picture and change it, over 0 to 1 (default 0.6).
        regions: for each person a box (x0, y0, x1, y1) in fractions or a mask; several people stand
        where the faces of image or style are, else side by side. background: what positions of
        nobody follow: "style" without a face, a "random" guidance, or "fixed" to the picture as it
        is. height, width: the model's own; a model of portraits makes room for one of each person.
        identity_scale, style_scale: 0 to 5, weights of face and style.
        guidance_scale: of classifier-free guidance, against nothing or against negative_prompt.
        seed: picture i has seed + i and is the same alone and in a batch; or pass generator(s).
        output_type: "pil", "np", "pt" or "latent". watermark: mark the pictures (not latents) as
        generated, invisibly. control_image, controlnet_conditioning_scale: a pose, depth or edge
        picture and its weight for each network in `pipe.controlnet`.
        callback_on_step_end(pipe, step, timestep, {"latents": …}) may give back {"latents": …}
        to go on with.
        speed: "exact", "balanced", "fast", "draft" or SpeedSettings; by default the model's own.
        Raises OptionError, PictureError, ModelError, OutOfMemory, before any work where possible.
        """
        controls, scales = list_controls(control_image, controlnet_conditioning_scale)
        request = Request(
            people=list_people(identity),
            prompt=prompt,
            style=style,
            alpha=alpha,
            image=image,
            strength=strength,
            regions=None if regions is None else tuple(regions),
            background=background,
            identity_scale=identity_scale,
            style_scale=style_scale,
            guidance_scale=guidance_scale,
            negative_prompt=negative_prompt,
            num_inference_steps=num_inference_steps,
            num_images_per_prompt=num_images_per_prompt,
            height=height,
            width=width,
            seed=seed,
            generator=generator,
            output_type=output_type,
            watermark=watermark,
            control_images=controls,
            control_scales=scales,
            callback_on_step_end=callback_on_step_end,
            speed=speed,
        )
        return self.run(self.settle(request))

    def settle(self, request: Request, most_px: int = MAX_PX) -> Request:
        """The request checked and filled in, so that it can run; what `__call__` does first.

        most_px: the longest side of a picture whose size is not given.
        """
        detector = RememberedFaces(self.detector, self.embed_cache)
        return settle(request, self.limits, detector, most_px)

    def run(self, request: Request) -> FaceStudioOutput:
        """The pictures of a checked request; what `__call__` does once it has one."""
        with saying_what_would_fit(request.num_images_per_prompt, *request.frame):
            run = prepare(self, request)
            latents = self._draw(request, run.scene, run.context, run.noise, run.generators)
            if self.lean:
                give_back()
            return finish(self, run, latents)

    def _draw(
        self,
        request: Request,
        scene: Scene,
        guidance: GuidanceContext,
        noise: Tensor,
        generators: Sequence[Generator],
    ) -> Tensor:
        """Latents (n, C, h, w) of the pictures."""
        steps, scale = request.num_inference_steps, request.guidance_scale
        assert steps is not None
        assert scale is not None
        clean, hold = self._encode_canvas(request, scene), None
        if clean is not None and request.background == "fixed" and scene.masks is not None:
            free = torch.from_numpy(scene.masks).to(noise.device).amax(0)  # (h, w)
            hold = Hold(clean.expand_as(noise), noise, free)
        shift = self.config.time_shift
        start = start_run(self.scheduler, steps, noise, clean, request.strength, shift)
        on_step_end = self._adapt(request.callback_on_step_end)
        speed = read_speed(request.speed)
        reusing = reuse(self.unet, speed, len(start.timesteps))
        unet = add_control(reusing, self.controlnet, request, self.like)
        told = guidance.to(self.unet.dtype)
        return denoise(unet, start, told, scale, generators, hold, on_step_end, speed)

    def _encode_canvas(self, request: Request, scene: Scene) -> Tensor | None:
        """Latents (1, C, h, w) of the picture to start from or hold on to, if there is a use."""
        if scene.canvas is None or (request.image is None and request.background != "fixed"):
            return None
        return self.codec.encode(to_pixels(scene.canvas).to(self.like))

    def _adapt(self, callback: Callback | None) -> StepEnd | None:
        """The caller's callback in the form the loop takes."""
        if callback is None:
            return None

        def on_step_end(step: int, timestep: Tensor, latents: Tensor) -> Tensor:
            changed = callback(self, step, timestep, {"latents": latents}) or {}
            result: Tensor = changed.get("latents", latents)
            return result

        return on_step_end

    def _develop(
        self,
        request: Request,
        latents: Tensor,
        people: Sequence[Identity | None],
        scene: Scene,
        style: Tensor | None,
    ) -> tuple[Any, list[list[float | None]], list[bool]]:
        """The pictures as asked for, the likeness of each person in each, which are withheld."""
        if request.output_type == "latent":
            return latents, [[None] * len(people) for _ in latents], []
        pixels = self.codec.decode(latents, style)
        withheld: list[bool] = []
        if self.content_checker is not None:
            pixels, withheld = hide_explicit(pixels, self.content_checker)
        if request.watermark:
            pixels = mark_as_generated(pixels)
        pictures = to_pictures(pixels)
        likeness = [
            measure_likeness(picture, people, scene.masks, self.identity_encoder, self.detector)
            for picture in pictures
        ]
        return to_output(pixels, pictures, request.output_type), likeness, withheld

    def _as_identity(self, person: Person) -> Identity | None:
        """The Identity behind a photo, a saved identity or an Identity; raises EncoderMismatch."""
        if person is None:
            return None
        if isinstance(person, (str, Path)) and Path(person).suffix == ".safetensors":
            person = load_identity(person)
        if not isinstance(person, Identity):
            return self.identity(person)
        person.require_encoder(encoder_id(self.identity_encoder))
        return person

    def _latent_size(self, request: Request) -> tuple[int, int]:
        height, width = request.frame
        return height // self.codec.factor, width // self.codec.factor

    def _describe(self) -> dict[str, Any]:
        """What of the model goes into the settings of a picture."""
        return {"model": self.config.name, "scheduler": type(self.scheduler).__name__}


def hide_explicit(pixels: Tensor, checker: ContentChecker) -> tuple[Tensor, list[bool]]:
    """Pixels (B, 3, H, W) in -1...1, grey where the checker calls a picture explicit; and which."""
    explicit = [checker.is_explicit(picture) for picture in to_pictures(pixels)]
    if not any(explicit):
        return pixels, explicit
    message = f"{sum(explicit)} of {len(explicit)} pictures withheld as explicit by {checker.name}"
    warnings.warn(message, ContentWarning, stacklevel=2)
    hidden = torch.tensor(explicit, device=pixels.device)
    return pixels.masked_fill(hidden[:, None, None, None], 0.0), explicit


def mark_as_generated(pixels: Tensor) -> Tensor:
    """Pixels (B, 3, H, W) in -1...1 with the invisible watermark in each picture."""
    marks = torch.from_numpy(np.stack([watermark_of(p) for p in to_pictures(pixels)]))
    return pixels.clamp(-1, 1) + marks[:, None].to(pixels) / 127.5
