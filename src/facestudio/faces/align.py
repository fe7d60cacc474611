"""From eye positions to crops: recogniser's, portrait's, and the part that hides the face.

Eyes are (2, 2) arrays of (x, y) in pixels: left, then right, as seen in the picture. Two
points fix a similarity exactly (turn, scale, shift); written as complex numbers it is
p -> s * p + o.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from facestudio.errors import BadOption
from facestudio.images import pad_reflect

__all__ = [
    "ARCFACE_EYES",
    "ARCFACE_POINTS",
    "CROP_PX",
    "PORTRAIT_EYE_X",
    "PORTRAIT_EYE_Y",
    "align_face",
    "align_points",
    "align_portrait",
    "face_mask",
    "hide_face",
    "portrait_eyes",
]

CROP_PX = 112

# Eyes, tip of the nose, corners of the mouth in a 112 px crop (Deng et al., arXiv 1801.07698).
ARCFACE_POINTS = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655],
     [70.7299, 92.2041]], dtype=np.float64,
)  # fmt: skip
ARCFACE_EYES = ARCFACE_POINTS[:2] / CROP_PX
"""The template's eyes as fractions of the crop."""

PORTRAIT_EYE_X, PORTRAIT_EYE_Y = (0.375, 0.625), 0.475
"""Where eyes are in a portrait, as fractions of its side: CelebA-HQ's layout."""

# The face as an ellipse, in distances between the eyes: from mid forehead to below the chin,
# wide enough to take in the ends of the brows and the temples.
ELLIPSE_DOWN, ELLIPSE_HALF_WIDTH, ELLIPSE_HALF_HEIGHT = 0.6, 1.3, 1.45


def portrait_eyes(side: float) -> np.ndarray:
    """The eyes (2, 2) of a portrait of `side` pixels."""
    return np.array([[x, PORTRAIT_EYE_Y] for x in PORTRAIT_EYE_X]) * side


def align_face(image: Image.Image, eyes: np.ndarray, size: int = CROP_PX) -> np.ndarray:
    """The recogniser's crop, uint8 (size, size, 3): eyes on the ArcFace template."""
    scale, offset = _similarity(ARCFACE_EYES * size, eyes)
    return np.asarray(_sample(image.convert("RGB"), scale, offset, size))


def align_portrait(
    image: Image.Image,
    eyes: np.ndarray,
    px: int,
    eye_x: tuple[float, float] = PORTRAIT_EYE_X,
    eye_y: float = PORTRAIT_EYE_Y,
) -> Image.Image:
    """An upright head-and-shoulders square of `px` pixels, by default in CelebA-HQ's layout.

    What lies outside the picture is filled with its mirrored, blurred surroundings.
    """
    target = np.array([[eye_x[0], eye_y], [eye_x[1], eye_y]]) * px
    scale, offset = _similarity(target, eyes)
    image, scale, offset = _shrink(image.convert("RGB"), scale, offset)
    image, offset = _pad_to_cover(image, scale, offset, px)
    return _sample(image, scale, offset, px)


def align_points(points: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Points (N, 2) moved by the similarity that takes two source points to two target points."""
    scale, offset = _similarity(source, target)
    moved = scale * (points[:, 0] + 1j * points[:, 1]) + offset
    return np.stack([moved.real, moved.imag], axis=-1)


def face_mask(width: int, height: int, eyes: np.ndarray, margin: float = 1.0) -> np.ndarray:
    """True where the face is, bool (H, W): an ellipse from brow to chin, temple to temple.

    It follows from the eyes alone; `margin` scales it about its centre.
    """
    across = _complex(eyes[1]) - _complex(eyes[0])
    if not across or margin <= 0:
        raise BadOption("a face mask needs two different eyes and a margin over 0")
    centre = (_complex(eyes[0]) + _complex(eyes[1])) / 2 + 1j * across * ELLIPSE_DOWN
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    place = (x + 1j * y - centre) / (across * margin)  # in distances between the eyes, upright
    inside = (place.real / ELLIPSE_HALF_WIDTH) ** 2 + (place.imag / ELLIPSE_HALF_HEIGHT) ** 2
    return np.asarray(inside <= 1)


def portrait_face_cells(cells: int) -> np.ndarray:
    """Where in a portrait the face is, float32 (cells, cells): 1 in cells that show mostly face.

    Cells that the recogniser's crop does not wholly cover are 0: `MappedEncoder`, which sees the
    crop alone, knows nothing of them.
    """
    fine = 8 * cells  # pixels of a portrait that has 8 a cell
    eyes = portrait_eyes(fine)
    corners = np.array([[0.0, 0.0], [CROP_PX, CROP_PX]])
    (left, top), (right, bottom) = align_points(corners, ARCFACE_EYES * CROP_PX, eyes)
    y, x = np.mgrid[:fine, :fine]
    seen = (x >= left) & (x < right - 1) & (y >= top) & (y < bottom - 1)
    shares = (face_mask(fine, fine, eyes) & seen).reshape(cells, 8, cells, 8).mean((1, 3))
    whole = seen.reshape(cells, 8, cells, 8).all((1, 3))
    return ((shares >= 0.5) & whole).astype(np.float32)


def hide_face(
    image: Image.Image,
    eyes: np.ndarray,
    margin: float = 1.0,
    fill: tuple[int, int, int] = (127, 127, 127),
) -> Image.Image:
    """A copy of the picture with the face painted over; the style picture of training."""
    mask = Image.fromarray(face_mask(image.width, image.height, eyes, margin))
    hidden = image.convert("RGB")
    hidden.paste(fill, mask=mask)
    return hidden


def _complex(point: np.ndarray) -> complex:
    return complex(float(point[0]), float(point[1]))


def _similarity(source: np.ndarray, target: np.ndarray) -> tuple[complex, complex]:
    """(s, o) with s * source + o = target for the two points given."""
    span = _complex(target[1]) - _complex(target[0])
    if not span or not math.isfinite(abs(span)):
        raise BadOption(f"the eyes {np.asarray(target).tolist()} are not two different points")
    scale = span / (_complex(source[1]) - _complex(source[0]))
    return scale, _complex(target[0]) - scale * _complex(source[0])


def _sample(image: Image.Image, scale: complex, offset: complex, size: int) -> Image.Image:
    """The square whose pixel p shows the picture at scale * p + offset; black outside."""
    image, scale, offset = _shrink(image, scale, offset)
    matrix = (scale.real, -scale.imag, offset.real, scale.imag, scale.real, offset.imag)
    return image.transform(
        (size, size), Image.Transform.AFFINE, matrix, resample=Image.Resampling.BICUBIC
    )


def _shrink(
    image: Image.Image, scale: complex, offset: complex
) -> tuple[Image.Image, complex, complex]:
    """Average whole blocks first where the crop is much smaller: sampling alone would alias."""
    factor = min(int(abs(scale)), min(image.size))
    if factor < 2:
        return image, scale, offset
    return image.reduce(factor), scale / factor, offset / factor


def _pad_to_cover(
    image: Image.Image, scale: complex, offset: complex, size: int
) -> tuple[Image.Image, complex]:
    """The part of the picture under the square, padded where it reaches out, and the offset."""
    corners = [offset + scale * corner for corner in (0, size, size * 1j, size * (1 + 1j))]
    x = [corner.real for corner in corners]
    y = [corner.imag for corner in corners]
    left, right = _clip(min(x) - 2, max(x) + 2, image.width)
    top, bottom = _clip(min(y) - 2, max(y) + 2, image.height)
    part = image.crop((left, top, right, bottom))
    beyond_x = max(left - min(x), max(x) - right, 0) / part.width
    beyond_y = max(top - min(y), max(y) - bottom, 0) / part.height
    beyond = max(beyond_x, beyond_y)
    if not beyond:
        return part, offset - complex(left, top)
    padded, (grown_x, grown_y) = pad_reflect(part, beyond + 2 / min(part.size))
    return padded, offset - complex(left - grown_x, top - grown_y)


def _clip(low: float, high: float, size: int) -> tuple[int, int]:
    """The whole pixels of low...high that lie in 0...size, at least one."""
    start = min(max(math.floor(low), 0), size - 1)
    return start, max(min(math.ceil(high), size), start + 1)
