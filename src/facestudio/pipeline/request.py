"""One call of the pipeline, checked: what is wrong is said before anything is computed."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from facestudio.errors import BadOption, BadRegion
from facestudio.images import PictureLike
from facestudio.pipeline.speed import EXACT, SpeedSettings, read_speed

if TYPE_CHECKING:
    from torch import Generator

Callback = Callable[..., "dict[str, Any] | None"]

# option: (lowest, highest, whether the lowest itself is allowed)
RANGES: dict[str, tuple[float, float, bool]] = {
    "alpha": (0, 1, True),
    "strength": (0, 1, False),
    "identity_scale": (0, 5, True),
    "style_scale": (0, 5, True),
    "guidance_scale": (0, 50, True),
}
BACKGROUNDS = ("style", "random", "fixed")
OUTPUT_TYPES = ("pil", "np", "pt", "latent")
MAX_IMAGES = 64
MAX_PX = 4096
MAX_CONTROL = 2
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Limits:
    """What one model allows and what it does where nothing is asked.

    multiple: height and width must divide by it; height, width, guidance_scale and
    num_inference_steps are the defaults, and so is speed; max_steps is the number of steps it was
    trained with. portrait: it draws a head that fills its height and width. grid: pixels of one
    position of the latents, a side.
    """

    multiple: int
    height: int
    width: int
    guidance_scale: float
    num_inference_steps: int
    max_steps: int
    speed: SpeedSettings = EXACT
    portrait: bool = False
    grid: int = 8


@dataclass(frozen=True)
class Request:
    """The options of one call, by the names they have there; None where not given."""

    people: tuple[Any, ...]  # Identity, PictureLike or None each
    prompt: str | None = None
    style: PictureLike | None = None
    alpha: float | None = None
    image: PictureLike | None = None
    strength: float | None = None
    regions: tuple[Any, ...] | None = None  # boxes as fractions, or masks as arrays
    background: str = "style"
    identity_scale: float = 1.0
    style_scale: float = 1.0
    guidance_scale: float | None = None
    negative_prompt: str | None = None
    num_inference_steps: int | None = None
    num_images_per_prompt: int = 1
    height: int | None = None
    width: int | None = None
    seed: int | None = None
    generator: Generator | Sequence[Generator] | None = None
    output_type: str = "pil"
    watermark: bool = True
    control_images: tuple[PictureLike, ...] = ()  # one for each ControlNet
    control_scales: tuple[float, ...] = ()
    callback_on_step_end: Callback | None = None
    speed: SpeedSettings | dict[str, Any] | str | None = None

    @property
    def frame(self) -> tuple[int, int]:
        """Height and width of the picture to make; only after `check_request`."""
        assert self.height is not None
        assert self.width is not None
        return self.height, self.width

    @property
    def by_region(self) -> bool:
        """Whether each person has a part of the picture to themselves."""
        return self.regions is not None or len(self.people) > 1

    @property
    def holds_on(self) -> bool:
        """Whether what a picture shows stays in its place, as a start or as a background."""
        return self.image is not None or self.background == "fixed"


def list_people(identity: Any) -> tuple[Any, ...]:
    """The people of a call, one at least: None, one, or a list of them; raises BadOption."""
    people = tuple(identity) if isinstance(identity, (list, tuple)) else (identity,)
    if not people:
        raise BadOption("identity=[]: give a photo, an Identity, a list of them, or None")
    return people


def list_controls(
    images: Any, scales: float | Sequence[float]
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """The control pictures of a call, and a scale for each; raises BadOption."""
    several = tuple(images) if isinstance(images, (list, tuple)) else (images,)
    pictures = () if images is None else several
    weights = (scales,) * len(pictures) if _is_number(scales) else tuple(scales)  # type: ignore[arg-type]
    if len(weights) != len(pictures):
        found = f"{len(weights)} scales for {len(pictures)} control pictures"
        raise BadOption(f"controlnet_conditioning_scale: {found}; give one, or one for each")
    return pictures, weights


def check_request(request: Request, limits: Limits) -> Request:
    """The request with defaults filled in; raises BadOption or BadRegion naming what is wrong."""
    request = _fill_in(request, limits)
    _check_texts(request)
    _check_ranges(request)
    _check_controls(request)
    _check_counts(request, limits)
    _check_choices(request)
    _check_randomness(request)
    _check_regions(request)
    return _choose_alpha(request)


def _fill_in(request: Request, limits: Limits) -> Request:
    """Defaults in place of None; a prompt of white space counts as none."""
    given = {
        name: getattr(limits, name)
        for name in ("height", "width", "guidance_scale", "num_inference_steps", "speed")
        if getattr(request, name) is None
    }
    if request.speed is not None:
        given["speed"] = read_speed(request.speed)
    if request.image is not None and request.strength is None:
        given["strength"] = 0.6
    return replace(request, **given)


def _check_texts(request: Request) -> None:
    for name in ("prompt", "negative_prompt"):
        text = getattr(request, name)
        if text is not None and not isinstance(text, str):
            raise _bad(name, text, "one text (call once for each of several)")


def _check_ranges(request: Request) -> None:
    for name, (low, high, closed) in RANGES.items():
        value = getattr(request, name)
        if value is None:
            continue
        if not _is_number(value) or not low <= value <= high or (value == low and not closed):
            raise _bad(name, value, f"a number {'from' if closed else 'over'} {low} to {high}")


def _check_controls(request: Request) -> None:
    for scale in request.control_scales:
        if not _is_number(scale) or not 0 <= scale <= MAX_CONTROL:
            raise _bad("controlnet_conditioning_scale", scale, f"numbers from 0 to {MAX_CONTROL}")


def _check_counts(request: Request, limits: Limits) -> None:
    _check_count("num_inference_steps", request.num_inference_steps, limits.max_steps)
    _check_count("num_images_per_prompt", request.num_images_per_prompt, MAX_IMAGES)
    for name in ("height", "width"):
        value = getattr(request, name)
        _check_count(name, value, MAX_PX)
        if value % limits.multiple:
            below = max(value // limits.multiple, 1) * limits.multiple
            nearest = f"{below} or {below + limits.multiple}"
            raise _bad(name, value, f"a multiple of {limits.multiple}, such as {nearest}")


def _check_count(name: str, value: Any, highest: int) -> None:
    if not _is_whole(value) or not 1 <= value <= highest:
        raise _bad(name, value, f"a whole number from 1 to {highest}")


def _check_choices(request: Request) -> None:
    for name, allowed in (("background", BACKGROUNDS), ("output_type", OUTPUT_TYPES)):
        if getattr(request, name) not in allowed:
            raise _bad(name, getattr(request, name), ", ".join(allowed))
    if not isinstance(request.watermark, bool):
        raise _bad("watermark", request.watermark, "True or False")
    if request.strength is not None and request.image is None:
        raise _bad("strength", request.strength, "it together with image, or leave it out")


def _check_randomness(request: Request) -> None:
    seed, generator, count = request.seed, request.generator, request.num_images_per_prompt
    if seed is not None and (not _is_whole(seed) or not 0 <= seed <= MAX_SEED - count):
        raise _bad("seed", seed, f"a whole number from 0 to {MAX_SEED - count}")
    if seed is not None and generator is not None:
        raise _bad("seed", seed, "seed or generator, not both")
    if isinstance(generator, (list, tuple)) and len(generator) != count:
        raise _bad("generator", f"{len(generator)} generators", f"one, or {count}, one an image")


def _check_regions(request: Request) -> None:
    people, regions = len(request.people), request.regions
    if regions is not None and len(regions) != people:
        raise BadRegion(f"{len(regions)} regions for {people} people; give one for each person")
    if request.background != "style" and not request.by_region:
        raise _bad("background", request.background, "it together with regions, or leave it out")
    held = request.style is not None or request.image is not None
    if request.background == "fixed" and not held:
        raise _bad("background", "fixed", "a style or image picture to hold on to, or 'style'")


def _choose_alpha(request: Request) -> Request:
    """Alpha as given, or by what there is: 0 words, 1 style picture, 0.5 both.

    Image-to-image with neither takes the style of the image itself. Raises BadOption if alpha asks
    for a branch that nothing feeds.
    """
    prompt = request.prompt if (request.prompt or "").strip() else None
    style = request.style
    if prompt is None and style is None:
        style = request.image
    if prompt is None and style is None:
        raise _bad("prompt", request.prompt, "words in prompt, a picture in style, or both")
    only = 1.0 if prompt is None else 0.0 if style is None else None
    alpha = request.alpha
    if alpha is not None and only is not None and alpha != only:
        missing = "prompt" if prompt is None else "style"
        raise _bad("alpha", alpha, f"{missing} too, or leave alpha out")
    if alpha is None:
        alpha = 0.5 if only is None else only
    return replace(request, prompt=prompt, style=style, alpha=float(alpha))


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def _is_whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _bad(name: str, given: Any, allowed: str) -> BadOption:
    return BadOption(f"{name}={reprlib.repr(given)}: give {allowed}")
