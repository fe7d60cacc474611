"""The pictures of a call: framed, their faces hidden, and where in them each person belongs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from facestudio.faces.align import align_points, align_portrait, hide_face, portrait_eyes
from facestudio.faces.detect import MIN_FACE_PX, Detector, find_faces, most_central
from facestudio.faces.people import find_people
from facestudio.faces.regions import Region, regions_to_masks, side_by_side
from facestudio.images import PictureLike, cover, read_picture
from facestudio.pipeline.request import Request

DETECTION_PX = 1024  # faces are looked for in a picture whose longer side is about this at most


@dataclass(frozen=True)
class Scene:
    """What the call's pictures give.

    style: the style picture with its faces hidden, as in training, of the size to be drawn.
    shown: the style picture as it was given, of that size, not framed anew: its texture counts.
    canvas: the picture whose latents the run starts from or holds on to: image, else style.
    regions: one per person, given or found; masks: the same at the latent's size, float32
    (P, h, w) of 0 and 1, no two overlapping. None: no regions.
    """

    style: Image.Image | None
    canvas: Image.Image | None
    regions: tuple[Region, ...] | None
    masks: np.ndarray | None
    shown: Image.Image | None = None


@dataclass(frozen=True)
class Framed:
    """A picture cut to the frame, and the eyes (2, 2) of the faces in it where they are known."""

    image: Image.Image
    eyes: tuple[np.ndarray, ...] | None = None  # None: nobody has looked for faces


def read_scene(
    request: Request,
    detector: Detector,
    latent_size: tuple[int, int],
    hide_margin: float,
    portrait: bool = False,
) -> Scene:
    """The scene of a checked request; raises PictureError for a picture, BadRegion for a region.

    portrait: in a square call for one person, pictures with a face are framed around it, as the
    model's training pictures were; in a call for several who stand side by side in squares, the
    picture to start from is made of such portraits.
    """
    height, width = request.frame
    around_face = portrait and height == width and not request.by_region
    shown = None if request.style is None else read_picture(request.style)
    style, image = (
        None if source is None else _frame(source, detector, height, width, around_face)
        for source in (shown, request.image)
    )
    if request.image is not None and portrait and _in_squares(request):
        image = frame_portraits(request.image, detector, height, len(request.people)) or image
    framed = style if image is None else image
    regions = place_people(request, framed.image if framed else None, detector)
    masks = None if regions is None else regions_to_masks(regions, *latent_size)
    return Scene(
        style=cover(hide_faces(style, detector, hide_margin), width, height) if style else None,
        canvas=cover(framed.image, width, height) if framed else None,
        regions=regions,
        masks=masks,
        shown=None if shown is None else cover(shown, width, height),
    )


def place_people(
    request: Request, canvas: Image.Image | None, detector: Detector
) -> tuple[Region, ...] | None:
    """One region per person: as given, as found in the canvas, or side by side; None: no regions.

    Raises BadRegion where a picture that is held on to shows fewer people.
    """
    given, count = request.regions, len(request.people)
    if given is None and request.by_region:
        held = request.holds_on
        if canvas is not None and (held or len(find_faces(canvas, detector)) >= count):
            given = tuple(find_people(canvas, detector, count))
        else:
            given = tuple(side_by_side(count))
    return None if given is None else read_regions(given)


def read_regions(given: Sequence[Any]) -> tuple[Region, ...]:
    """Regions of boxes, texts, masks, or masks as lists. Raises BadRegion."""
    return tuple(Region.of(np.asarray(v) if np.ndim(v) == 2 else v) for v in given)


def _frame(
    source: PictureLike, detector: Detector, height: int, width: int, around_face: bool
) -> Framed:
    if not around_face:
        return Framed(frame_picture(source, height, width))
    return frame_portrait(source, detector, width) or Framed(
        frame_picture(source, height, width), eyes=()
    )


def frame_portrait(source: PictureLike, detector: Detector, px: int) -> Framed | None:
    """The picture around its most central face in the portrait layout, None where it shows none.

    Twice `px` a side, so that what hides a face has a smooth edge.
    """
    image = read_picture(source)
    faces = find_faces(image, detector)
    large = [face for face in faces if min(face.width, face.height) >= MIN_FACE_PX]
    if not large:
        return None
    main = most_central(large, image.size)
    layout = portrait_eyes(2 * px)
    eyes = tuple(align_points(face.eyes, main.eyes, layout) for face in faces)
    return Framed(align_portrait(image, main.eyes, 2 * px), eyes)


def frame_portraits(source: PictureLike, detector: Detector, px: int, count: int) -> Framed | None:
    """The portraits, `px` a side, of the `count` largest faces side by side; None for fewer."""
    image = read_picture(source)
    faces = sorted(find_faces(image, detector), key=lambda face: face.width)[-count:]
    if len(faces) < count:
        return None
    row = Image.new("RGB", (count * px, px))
    for i, face in enumerate(sorted(faces, key=lambda face: face.centre)):
        row.paste(align_portrait(image, face.eyes, px), (i * px, 0))
    return Framed(row)


def _in_squares(request: Request) -> bool:
    """Whether several people stand side by side, each in a square."""
    (height, width), count = request.frame, len(request.people)
    if request.regions is None or count < 2 or width != count * height:
        return False
    return [region.bounds() for region in read_regions(request.regions)] == side_by_side(count)


def frame_picture(source: PictureLike, height: int, width: int) -> Image.Image:
    """The middle of a picture in the aspect of (height, width), a whole multiple as large.

    As large as the picture allows, so that small faces in it can be found.
    """
    image = read_picture(source)
    most = min(image.width // width, image.height // height, DETECTION_PX // max(height, width))
    times = max(most, 1)
    return cover(image, width * times, height * times)


def hide_faces(framed: Framed, detector: Detector, margin: float) -> Image.Image:
    """The picture with every face in it painted over; as it is if margin is 0."""
    image, eyes = framed.image, framed.eyes
    if not margin:
        return image
    if eyes is None:
        eyes = tuple(face.eyes for face in find_faces(image, detector))
    for own in eyes:
        image = hide_face(image, own, margin)
    return image


def to_pixels(image: Image.Image) -> Tensor:
    """Pixels (1, 3, H, W) in -1...1 of a PIL picture."""
    array = np.asarray(image.convert("RGB"), dtype=np.float32)
    return torch.from_numpy(array / 127.5 - 1).permute(2, 0, 1)[None].contiguous()


def to_pictures(pixels: Tensor) -> list[Image.Image]:
    """PIL pictures of pixels (B, 3, H, W) in -1...1."""
    levels = (pixels.float().clamp(-1, 1) * 127.5 + 127.5).round().to(torch.uint8)
    return [Image.fromarray(array) for array in levels.permute(0, 2, 3, 1).cpu().numpy()]


def to_output(pixels: Tensor, pictures: Sequence[Image.Image], output_type: str) -> Any:
    """The pictures as asked for: "pil", or in 0...1 "np" (B, H, W, 3) or "pt" (B, 3, H, W)."""
    if output_type == "pil":
        return list(pictures)
    unit = (pixels.float() / 2 + 0.5).clamp(0, 1)
    return unit if output_type == "pt" else unit.permute(0, 2, 3, 1).cpu().numpy()
