"""Where several people stand when the call does not say, and how large the picture is for them.

A model of portraits knows heads that fill its picture, alone or side by side. In other sizes it
draws them poorly, and in what is left between two people it draws a third. So where a call gives no
size, each person gets a portrait of the model's own size, next to the others. Models that draw
people of any size keep their own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL.Image import Image

from facestudio.errors import Box
from facestudio.faces.align import portrait_eyes
from facestudio.faces.detect import Detector, Face, find_faces
from facestudio.faces.regions import find_regions, side_by_side
from facestudio.images import read_picture
from facestudio.pipeline.request import MAX_PX, Limits, Request, check_request
from facestudio.pipeline.scene import read_regions

MAX_PORTRAITS = 12  # for how many there is room in a picture whose size follows from regions
MAX_DROP = 1 / 4  # of a portrait: how much lower than the highest person anyone stands


def settle(
    request: Request, limits: Limits, detector: Detector | None = None, most_px: int = MAX_PX
) -> Request:
    """The request checked, with its defaults, and with room for each of its people.

    detector: finds people in the request's pictures; without one these are not opened, and people
    stand side by side. most_px: the longest side that is chosen here where a smaller one will do.
    Raises OptionError, PictureError.
    """
    checked = check_request(request, limits)
    sized = request.height is not None or request.width is not None
    if sized or len(request.people) < 2 or not limits.portrait:
        return checked
    return check_request(_give_room(request, limits, detector, most_px), limits)


def lay_out(
    places: Sequence[Box], limits: Limits, most_px: int = MAX_PX
) -> tuple[int, int, list[Box]]:
    """Height and width of a picture with a portrait for each place, and their boxes in it.

    People stand side by side in the order of their places from left to right, and somebody whose
    place is clearly lower stands lower.
    """
    lower = _drop([(y0, y1) for _, y0, _, y1 in places], limits)
    if limits.height + max(lower) > most_px:
        lower = [0] * len(places)
    width, height = len(places) * limits.width, limits.height + max(lower)
    order = sorted(range(len(places)), key=lambda i: (places[i][0] + places[i][2], i))
    boxes = []
    for i, top in enumerate(lower):
        left = order.index(i) * limits.width
        edges = (left / width, top / height)
        boxes.append((*edges, (left + limits.width) / width, (top + limits.height) / height))
    return height, width, boxes


def _drop(stretches: Sequence[tuple[float, float]], limits: Limits) -> list[int]:
    """How many pixels, of the multiples that the model allows, each place lies under the highest.

    A portrait is as high as the stretches (top, bottom) are on the average.
    """
    middles = [(top + bottom) / 2 for top, bottom in stretches]
    portrait = sum(bottom - top for top, bottom in stretches) / len(stretches)
    most = int(MAX_DROP * limits.height) // limits.multiple
    steps = limits.height / portrait / limits.multiple
    return [
        min(round((middle - min(middles)) * steps), most) * limits.multiple for middle in middles
    ]


def _give_room(
    request: Request, limits: Limits, detector: Detector | None, most_px: int
) -> Request:
    if request.regions is not None:
        boxes = [region.bounds() for region in read_regions(request.regions)]
        height, width = _room_for(boxes, limits, most_px)
        return replace(request, height=height, width=width)
    count, places = len(request.people), side_by_side(len(request.people))
    source = request.style if request.image is None else request.image
    if source is not None and detector is not None:
        picture = read_picture(source)
        if request.image is not None:
            find_regions(picture, detector, count)  # says it where there are too few
        elif request.background == "fixed":
            height, width, boxes = _about_faces(picture, detector, count, limits, most_px)
            return replace(request, height=height, width=width, regions=tuple(boxes))
        elif len(find_faces(picture, detector)) >= count:
            places = find_regions(picture, detector, count)
    height, width, boxes = lay_out(places, limits, most_px)
    return replace(request, height=height, width=width, regions=tuple(boxes))


def _room_for(places: Sequence[Box], limits: Limits, most_px: int) -> tuple[int, int]:
    """Height and width of the smallest picture in which every place holds a whole portrait."""
    wide = limits.width / min(x1 - x0 for x0, _, x1, _ in places)
    high = limits.height / min(y1 - y0 for _, y0, _, y1 in places)
    return _allowed(high, wide, limits, most_px)


def _about_faces(
    picture: Image, detector: Detector, count: int, limits: Limits, most_px: int
) -> tuple[int, int, list[Box]]:
    """A picture that stays as it is but for a portrait about each of its `count` largest faces.

    Height, width and boxes, so that these faces are as large as in a portrait, on the average.
    """
    find_regions(picture, detector, count)  # says it where there are too few
    faces = sorted(find_faces(picture, detector), key=lambda face: face.width)[-count:]
    faces = sorted(faces, key=lambda face: face.centre)
    times = limits.height / float(np.mean([_portrait_side(face) for face in faces]))
    height, width = _allowed(times * picture.height, times * picture.width, limits, most_px)
    boxes = []
    for face in faces:
        x, y = face.eyes.mean(0) / picture.size * (width, height)
        x, y = (x, y) - portrait_eyes(limits.height).mean(0)
        left, right = _on_grid(x, limits.width, width, limits.grid)
        top, bottom = _on_grid(y, limits.height, height, limits.grid)
        boxes.append((left, top, right, bottom))
    return height, width, boxes


def _portrait_side(face: Face) -> float:
    """The side of the portrait that has this face in its layout."""
    layout = portrait_eyes(1.0)
    return float(
        np.linalg.norm(face.eyes[1] - face.eyes[0]) / np.linalg.norm(layout[1] - layout[0])
    )


def _allowed(high: float, wide: float, limits: Limits, most_px: int) -> tuple[int, int]:
    """The nearest height and width that the model and the limits of size allow."""
    room = MAX_PORTRAITS * limits.height * limits.width / (high * wide)
    share = min(1.0, math.sqrt(room), most_px / max(high, wide))
    multiple, most = limits.multiple, most_px // limits.multiple
    height, width = (round(share * side / multiple) for side in (high, wide))
    return min(max(height, 1), most) * multiple, min(max(width, 1), most) * multiple


def _on_grid(start: float, side: int, whole: int, grid: int) -> tuple[float, float]:
    """A stretch of `side` pixels from about `start` inside `whole`, on the grid; as fractions."""
    side = min(side, whole)
    first = min(max(round(start / grid) * grid, 0), whole - side)
    return first / whole, (first + side) / whole
