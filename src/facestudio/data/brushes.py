"""Small picture filters the drawn looks are made of, numpy and Pillow.

Everything here works on float32 arrays in 0…1: a tone is (H, W), a picture (H, W, 3). Lengths are
given in pixels of a 128 px picture and grow with the picture, so a look stays the same look.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float32]

REFERENCE_PX = 128
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def scale_of(image: Array) -> float:
    """How many times larger than 128 px the shorter side of `image` is."""
    return min(image.shape[:2]) / REFERENCE_PX


def tone_of(image: Array) -> Array:
    """Brightness (H, W) of a picture (H, W, 3)."""
    return (image @ LUMA).astype(np.float32)


def blur(image: Array, sigma: float) -> Array:
    """`image` softened by a Gaussian of `sigma` (128 px pixels), edges repeated."""
    sigma = sigma * scale_of(image)
    reach = max(1, round(2.5 * sigma))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    return _slide(_slide(image, taps, 0), taps, 1)


def _slide(image: Array, taps: Array, axis: int) -> Array:
    reach = len(taps) // 2
    pads = [(0, 0)] * image.ndim
    pads[axis] = (reach, reach)
    padded = np.pad(image, pads, mode="edge")
    out = np.zeros_like(image)
    length = image.shape[axis]
    for shift, tap in enumerate(taps):
        window = padded[shift : shift + length] if axis == 0 else padded[:, shift : shift + length]
        out += tap * window
    return out


def step(tone: Array, threshold: float | Array, softness: float) -> Array:
    """0 below `threshold`, 1 above it, with a soft edge `softness` wide."""
    return np.clip((tone - threshold) / softness + 0.5, 0, 1).astype(np.float32)


def levels_of(tone: Array, edges: tuple[float, ...]) -> Array:
    """`tone` in flat steps from 0 to 1, one more than there are `edges`."""
    total = np.sum([step(tone, edge, 0.05) for edge in edges], axis=0)
    return (total / len(edges)).astype(np.float32)


def stretch(tone: Array, low: float = 2, high: float = 98) -> Array:
    """`tone` with its `low` and `high` percentiles brought to 0 and 1."""
    floor, ceiling = np.percentile(tone, (low, high))
    return np.clip((tone - floor) / max(ceiling - floor, 0.05), 0, 1).astype(np.float32)


def lines_of(tone: Array, sigma: float = 0.7, strength: float = 14.0) -> Array:
    """Ink lines of a picture: 1 on paper, 0 on a line.

    Source: thresholded difference of Gaussians (Winnemöller 2011).
    """
    difference = blur(tone, sigma) - blur(tone, 1.6 * sigma)
    return np.clip(1 + strength * np.minimum(difference + 0.004, 0), 0, 1).astype(np.float32)


def strokes_along(tone: Array) -> tuple[Array, Array]:
    """Unit vectors along the shapes of a picture (smoothed structure tensor), (H, W) each."""
    soft = blur(tone, 0.8)
    down, right = (np.asarray(np.gradient(soft, axis=axis), np.float32) for axis in (0, 1))
    across, up, mixed = blur(right**2, 2), blur(down**2, 2), blur(right * down, 2)
    angle = 0.5 * np.arctan2(2 * mixed, across - up) + np.pi / 2
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def smear(image: Array, along: tuple[Array, Array], length: int) -> Array:
    """`image` averaged along a field of directions, `length` steps each way (line integral)."""
    height, width = image.shape[:2]
    pace = scale_of(image)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    total = image.astype(np.float32).copy()
    for sign in (pace, -pace):
        y, x = rows, columns
        for _ in range(length):
            iy, ix = _nearest(y, height), _nearest(x, width)
            y, x = y + sign * along[1][iy, ix], x + sign * along[0][iy, ix]
            total += image[_nearest(y, height), _nearest(x, width)]
    return (total / (2 * length + 1)).astype(np.float32)


def _nearest(position: Array, size: int) -> NDArray[np.intp]:
    return np.clip(np.rint(position), 0, size - 1).astype(np.intp)


def flatten(image: Array, radius: float = 2.0, sharpness: float = 4.0) -> Array:
    """`image` in flat patches with kept edges (Kuwahara filter with soft weights)."""
    reach = max(1, round(radius * scale_of(image)))
    tone = tone_of(image)[..., None]
    stack = np.concatenate([image, tone, tone**2], axis=-1)
    means = _slide(_slide(stack, _box(reach), 0), _box(reach), 1)
    half = (reach + 1) // 2
    total, weights = np.zeros_like(image), np.zeros((*image.shape[:2], 1), np.float32)
    for dy in (-half, half):
        for dx in (-half, half):
            corner = _shift(means, dy, dx)
            variance = np.maximum(corner[..., 4:] - corner[..., 3:4] ** 2, 0)
            weight = (variance + 1e-4) ** -sharpness
            total += weight * corner[..., :3]
            weights += weight
    return (total / weights).astype(np.float32)


def _box(reach: int) -> Array:
    size = 2 * ((reach + 1) // 2) + 1
    return np.full(size, 1 / size, np.float32)


def _shift(image: Array, dy: int, dx: int) -> Array:
    height, width = image.shape[:2]
    rows = np.clip(np.arange(height) + dy, 0, height - 1)
    columns = np.clip(np.arange(width) + dx, 0, width - 1)
    return image[rows][:, columns]


def grain(shape: tuple[int, ...], sigma: float, rng: np.random.Generator) -> Array:
    """Even noise (H, W) with mean 0 and deviation 1, softened by `sigma`: tooth of a paper."""
    noise = rng.standard_normal(shape[:2]).astype(np.float32)
    if sigma > 0:
        noise = blur(noise, sigma)
    return ((noise - noise.mean()) / max(float(noise.std()), 1e-6)).astype(np.float32)


def hatching(
    shape: tuple[int, ...],
    angle: float,
    period: float,
    rng: np.random.Generator,
    bend: float | Array = 0.0,
) -> Array:
    """Wavy parallel lines (H, W) in 0…1, `period` (128 px pixels) apart, at `angle` radians.

    `bend` (H, W) moves the lines by so many 128 px pixels.
    """
    scale = min(shape[:2]) / REFERENCE_PX
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32) / scale
    wave = rows * np.cos(angle) + columns * np.sin(angle) + 0.6 * _swell(shape, rng) + bend
    return (0.5 + 0.5 * np.cos(2 * np.pi * wave / period)).astype(np.float32)


def _swell(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Slow noise (H, W): a 24-cell grid of chance drawn out smoothly."""
    coarse = Image.fromarray(rng.standard_normal((24, 24)).astype(np.float32))
    return np.asarray(coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), np.float32)


def dots(shape: tuple[int, ...], angle: float, period: float) -> Array:
    """Height map (H, W) in 0…1 of a printer's screen, peaks `period` (128 px pixels) apart."""
    scale = min(shape[:2]) / REFERENCE_PX
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32) / scale
    u = (columns * np.cos(angle) + rows * np.sin(angle)) * (2 * np.pi / period)
    v = (rows * np.cos(angle) - columns * np.sin(angle)) * (2 * np.pi / period)
    return (0.5 + 0.25 * (np.cos(u) + np.cos(v))).astype(np.float32)


def fade(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """1 in an uneven oval about the middle, 0 in the corners: where a drawing ends on its paper."""
    height, width = shape[:2]
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    away = np.hypot((columns / width - 0.5) / 0.56, (rows / height - 0.53) / 0.64)
    return np.clip((1.02 - away + 0.04 * grain(shape, 3, rng)) / 0.22, 0, 1).astype(np.float32)


def ramp(tone: Array, colours: Array) -> Array:
    """Picture (H, W, 3): `tone` 0…1 turned into a run through `colours` (n, 3), dark to light."""
    places = np.linspace(0, 1, len(colours))
    channels = [np.interp(tone, places, colours[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).astype(np.float32)


def saturate(image: Array, factor: float) -> Array:
    """`image` with its colours `factor` times as far from grey."""
    tone = tone_of(image)[..., None]
    return np.clip(tone + factor * (image - tone), 0, 1).astype(np.float32)
