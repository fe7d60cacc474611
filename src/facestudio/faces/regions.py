"""Where each person goes: boxes or masks to exclusive position masks.

Overlap rule: a position inside several regions belongs to the one whose box centre is nearest;
at equal distance to the smaller box, then to the one further left, then further up. So the
order in which regions are given never matters, and two identical regions are refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from facestudio.errors import BadOption, BadRegion, Box
from facestudio.faces.detect import Detector, Face, find_faces

__all__ = ["Region", "downsample_masks", "find_regions", "regions_to_masks", "side_by_side"]

# Head and shoulders around a face box, in widths to each side and heights above and below.
SIDE, ABOVE, BELOW = 1.0, 0.8, 2.0


@dataclass(frozen=True, eq=False)
class Region:
    """One person's part of the picture: a box of fractions (x0, y0, x1, y1), or a mask (H, W).

    Raises BadRegion if it is empty or reaches outside the picture.
    """

    box: Box | None = None
    mask: np.ndarray | None = None

    def __post_init__(self) -> None:
        if (self.box is None) == (self.mask is None):
            raise BadRegion("a region is either a box or a mask")
        if self.box is not None:
            _check_box(self.box)
        elif self.mask is not None and (self.mask.ndim != 2 or not self.mask.any()):
            raise BadRegion(f"a region's mask must be (H, W) and not empty; got {self.mask.shape}")

    @classmethod
    def of(cls, value: Region | str | Sequence[float] | np.ndarray) -> Region:
        """A region from four numbers, from text such as "0,0,0.5,1", or from a mask."""
        if isinstance(value, Region):
            return value
        if isinstance(value, np.ndarray) and value.ndim == 2:
            return cls(mask=value)
        try:
            numbers = [float(v) for v in (value.split(",") if isinstance(value, str) else value)]
            left, top, right, bottom = numbers
        except (TypeError, ValueError) as problem:
            hint = "write x0,y0,x1,y1 as fractions of width and height, for example 0,0,0.5,1"
            raise BadRegion(f"cannot read the region {value!r}", hint=hint) from problem
        return cls(box=(left, top, right, bottom))

    def bounds(self) -> Box:
        """The smallest box of fractions around the region."""
        if self.box is not None:
            return self.box
        assert self.mask is not None
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        height, width = self.mask.shape
        return (
            float(columns[0] / width),
            float(rows[0] / height),
            float((columns[-1] + 1) / width),
            float((rows[-1] + 1) / height),
        )

    def covers(self, height: int, width: int) -> np.ndarray:
        """Positions whose centre lies inside, bool (height, width)."""
        x, y = _centres(width), _centres(height)
        if self.mask is not None:
            rows = (y * self.mask.shape[0]).astype(int)
            columns = (x * self.mask.shape[1]).astype(int)
            return np.asarray(self.mask[np.ix_(rows, columns)] > 0)
        left, top, right, bottom = self.bounds()
        return np.outer((y >= top) & (y < bottom), (x >= left) & (x < right))


def regions_to_masks(regions: Sequence[Region], height: int, width: int) -> np.ndarray:
    """Masks of 0 and 1, float32 (n, height, width), of which no two overlap.

    Raises BadRegion if two regions are the same or one is left without a position.
    """
    if not regions:
        return np.zeros((0, height, width), np.float32)
    bounds = [region.bounds() for region in regions]
    covered = np.stack([region.covers(height, width) for region in regions])
    _check_distinct(bounds, covered)
    order = sorted(range(len(regions)), key=lambda i: _rank(bounds[i], covered[i]))
    distance = np.stack([_distance(bounds[i], covered[i]) for i in order])
    nearest = np.array(order)[distance.argmin(axis=0)]
    owner = np.where(covered.any(axis=0), nearest, -1)
    masks = np.stack([owner == i for i in range(len(regions))])
    _check_not_swallowed(bounds, masks)
    return masks.astype(np.float32)


def downsample_masks(masks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Exclusive masks (n, H, W) at another size, float32 0 or 1 (n, height, width).

    A position goes to whoever covers most of it, people before the background at a tie.
    """
    if height < 1 or width < 1:
        raise BadOption(f"masks of {height}×{width} positions; both must be over 0")
    rows = _overlaps(masks.shape[1], height)
    columns = _overlaps(masks.shape[2], width)
    shares = np.round(rows @ masks.astype(np.float64) @ columns.T, 6)  # (n, height, width)
    nobody = np.round(1 - shares.sum(axis=0, keepdims=True), 6)
    owner = np.concatenate([shares, nobody]).argmax(axis=0)
    return np.stack([owner == i for i in range(len(masks))]).astype(np.float32)


def find_regions(image: Image.Image, detector: Detector, n: int) -> list[Box]:
    """Boxes of head and shoulders around the `n` largest faces, left to right, as fractions.

    Neighbours are divided halfway between their faces. Raises BadRegion if there are fewer.
    """
    faces = find_faces(image, detector)
    if len(faces) < n:
        message = f"{len(faces)} faces found in the picture; {n} people are to be placed"
        raise BadRegion(message, hint="give a region for each person: x0,y0,x1,y1 in fractions")
    largest = sorted(faces, key=lambda face: face.width, reverse=True)[:n]
    chosen = sorted(largest, key=lambda face: face.centre)
    boxes = [_head_and_shoulders(face) for face in chosen]
    for i, face in enumerate(chosen):
        for other in chosen[:i] + chosen[i + 1 :]:
            boxes[i] = _divide(boxes[i], face.centre, other.centre)
    return [_to_fractions(box, image.size) for box in boxes]


def side_by_side(count: int) -> list[Box]:
    """Boxes of one width, from edge to edge."""
    return [(i / count, 0.0, (i + 1) / count, 1.0) for i in range(count)]


def _check_box(box: Box) -> None:
    left, top, right, bottom = box
    if not all(math.isfinite(v) and 0 <= v <= 1 for v in box):
        hint = "give x0,y0,x1,y1 as fractions of width and height"
        raise BadRegion(f"the region {_text(box)} reaches outside the picture (0...1)", hint=hint)
    if left >= right or top >= bottom:
        hint = "x0 must be under x1, y0 under y1"
        raise BadRegion(f"the region {_text(box)} is empty", hint=hint)


def _check_distinct(bounds: Sequence[Box], covered: np.ndarray) -> None:
    for i in range(len(bounds)):
        for j in range(i):
            if bounds[i] == bounds[j] and (covered[i] == covered[j]).all():
                hint = "give each person a place of their own"
                raise BadRegion(f"regions {j + 1} and {i + 1} are the same", hint=hint)


def _check_not_swallowed(bounds: Sequence[Box], masks: np.ndarray) -> None:
    for i, mask in enumerate(masks):
        if not mask.any():
            message = f"region {i + 1} ({_text(bounds[i])}) holds no position of its own"
            raise BadRegion(message, hint="make it larger or move it away from the others")


def _rank(box: Box, covered: np.ndarray) -> tuple[float, Box, bytes]:
    """Smaller first, then further left, then further up."""
    left, top, right, bottom = box
    return round((right - left) * (bottom - top), 6), box, covered.tobytes()


def _distance(box: Box, covered: np.ndarray) -> np.ndarray:
    """From each covered position to the middle of the box, in positions; others infinite."""
    height, width = covered.shape
    left, top, right, bottom = box
    x = (_centres(width) - (left + right) / 2) * width
    y = (_centres(height) - (top + bottom) / 2) * height
    return np.where(covered, np.round(np.hypot(x[None], y[:, None]), 6), np.inf)


def _centres(size: int) -> np.ndarray:
    return (np.arange(size) + 0.5) / size


def _overlaps(size: int, new_size: int) -> np.ndarray:
    """How much of each new cell every old cell makes up, (new_size, size); rows sum to 1."""
    low = np.arange(new_size)[:, None] * size / new_size
    start = np.arange(size)[None]
    shared = np.minimum(low + size / new_size, start + 1) - np.maximum(low, start)
    return np.asarray(np.clip(shared, 0, None) * new_size / size)


def _head_and_shoulders(face: Face) -> Box:
    left, top, right, bottom = face.box
    return (
        left - SIDE * face.width,
        top - ABOVE * face.height,
        right + SIDE * face.width,
        bottom + BELOW * face.height,
    )


def _divide(box: Box, own: tuple[float, float], other: tuple[float, float]) -> Box:
    """The box cut halfway to the other face, across the axis that separates them more."""
    axis = 0 if abs(other[0] - own[0]) >= abs(other[1] - own[1]) else 1
    middle = (own[axis] + other[axis]) / 2
    edges = list(box)
    if other[axis] > own[axis]:
        edges[axis + 2] = min(edges[axis + 2], middle)
    else:
        edges[axis] = max(edges[axis], middle)
    return edges[0], edges[1], edges[2], edges[3]


def _to_fractions(box: Box, size: tuple[int, int]) -> Box:
    left, top, right, bottom = (
        min(max(value / side, 0.0), 1.0) for value, side in zip(box, (*size, *size), strict=True)
    )
    return left, top, right, bottom


def _text(box: Box) -> str:
    return ",".join(f"{value:g}" for value in box)
