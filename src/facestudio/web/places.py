"""Where several people stand in one picture, and how large it must be for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from facestudio.errors import BadRegion
from facestudio.faces.detect import find_faces
from facestudio.faces.regions import find_regions

if TYPE_CHECKING:
    from PIL import Image

    from facestudio.errors import Box
    from facestudio.pipeline.pipeline import FaceStudioPipeline

MAX_PLACES = 4
MAX_PORTRAITS = 12  # for how many there is room in the largest picture


def find_places(scene: Image.Image, pipe: FaceStudioPipeline) -> list[Box]:
    """A box for each face of the scene, MAX_PLACES at most. Raises BadRegion where it has none."""
    count = min(len(find_faces(scene, pipe.detector)), MAX_PLACES)
    if count == 0:
        hint = "choose one in which people look at the camera, or put them side by side"
        raise BadRegion("no face was found in this picture", hint=hint)
    return find_regions(scene, pipe.detector, count)


def side_by_side(count: int) -> list[Box]:
    """Boxes of one width, from edge to edge."""
    return [(i / count, 0.0, (i + 1) / count, 1.0) for i in range(count)]


def lay_out(places: Sequence[Box], pipe: FaceStudioPipeline) -> tuple[int, int, list[Box]]:
    """Height and width of the picture, and in each place a box of the model's own size.

    In another size than it was trained with, a model draws a face poorly or not at all. So the
    picture is as large as it takes for a whole portrait in the middle of every place; where that
    would be too large, people stand side by side in the order of their places.
    """
    limits, grid = pipe.limits, pipe.codec.factor
    wide = 1 / min(x1 - x0 for x0, _, x1, _ in places)
    high = 1 / min(y1 - y0 for _, y0, _, y1 in places)
    if wide * high > MAX_PORTRAITS:
        return lay_out(side_by_side(len(places)), pipe)
    width = _round_up(wide * limits.width, limits.multiple)
    height = _round_up(high * limits.height, limits.multiple)
    boxes = []
    for x0, y0, x1, y1 in places:
        left, right = _middle(x0, x1, limits.width, width, grid)
        top, bottom = _middle(y0, y1, limits.height, height, grid)
        boxes.append((left, top, right, bottom))
    return height, width, boxes


def _middle(start: float, end: float, side: int, whole: int, grid: int) -> tuple[float, float]:
    """A stretch of `side` pixels in the middle of start...end, on the grid; as fractions."""
    first = round(((start + end) / 2 * whole - side / 2) / grid) * grid
    first = min(max(first, 0), whole - side)
    return first / whole, (first + side) / whole


def _round_up(side: float, multiple: int) -> int:
    return math.ceil(round(side / multiple, 6)) * multiple
