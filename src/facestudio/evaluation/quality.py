"""Figures of pictures as pictures: distance to real ones, sharpness, variety, a scene kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from facestudio.faces.align import face_mask
from facestudio.images import cover

SHARPNESS_PX = 128
FACE_MARGIN = 1.25  # of the ellipse that is left out of a scene
LAPLACIAN = ((0, -1), (0, 1), (1, -1), (1, 1))  # axis and shift of the four neighbours


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet distance of the normal distributions fitted to features (N, D) and (M, D).

    tr sqrt(S_a S_b) is the sum of the singular values of A B', where S = A'A: exact, and fit for
    fewer pictures than features. It falls with N; compare at equal N only.
    Source: Heusel et al., arXiv 1706.08500.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    shift = ((a.mean(0) - b.mean(0)) ** 2).sum()
    centred = [(each - each.mean(0)) / np.sqrt(max(len(each) - 1, 1)) for each in (a, b)]
    spreads = sum((each**2).sum() for each in centred)
    shared = np.linalg.svd(centred[0] @ centred[1].T, compute_uv=False).sum()
    return float(shift + spreads - 2 * shared)


def sharpness(picture: Image.Image) -> float:
    """Variance of the Laplacian of brightness (0 to 255) at 128 px."""
    grey = np.asarray(cover(picture, SHARPNESS_PX, SHARPNESS_PX).convert("L"), np.float64)
    bend = sum(np.roll(grey, shift, axis) for axis, shift in LAPLACIAN) - 4 * grey
    return float(bend[1:-1, 1:-1].var())


def mean_distance(features: np.ndarray) -> float:
    """Mean distance (1 - cosine) between all pairs of features (N, D), nan for fewer than two."""
    if len(features) < 2:
        return float("nan")
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    table = unit @ unit.T
    return float(1 - table[~np.eye(len(unit), dtype=bool)].mean())


def scene_similarity(
    a: np.ndarray, b: np.ndarray, eyes: Sequence[np.ndarray], picture_px: tuple[int, int]
) -> float:
    """Mean cosine of two pictures' maps (C, h, w) over the places outside both faces.

    eyes: (2, 2) in pixels of the pictures, nan rows for no face; picture_px: (width, height).
    nan where nothing lies outside.
    """
    outside = np.ones(a.shape[1:], bool)
    for each in eyes:
        if not np.isnan(each).any():
            outside &= ~_cells_of_face(each, picture_px, outside.shape)
    first, second = a[:, outside], b[:, outside]
    lengths = np.linalg.norm(first, axis=0) * np.linalg.norm(second, axis=0)
    if not outside.any():
        return float("nan")
    return float(((first * second).sum(0) / np.maximum(lengths, 1e-12)).mean())


def _cells_of_face(
    eyes: np.ndarray, picture_px: tuple[int, int], cells: tuple[int, ...]
) -> np.ndarray:
    """Which cells (h, w) of a picture show more face than not."""
    mask = face_mask(*picture_px, eyes, FACE_MARGIN)
    small = Image.fromarray(mask.astype(np.uint8) * 255).resize(
        (cells[1], cells[0]), Image.Resampling.BOX
    )
    return np.asarray(small) >= 128
