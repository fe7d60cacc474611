"""Draw the demo's style picture: a portrait of nobody, in ink and wash on warm paper.

    python demo/draw_style.py demo/style.png

Everything in it comes from this file and one seed, so it is free of anyone's rights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

SIDE = 512
PAPER, INK = (242, 228, 203), (43, 38, 52)
SKIN, BLUSH, HAIR = (236, 188, 150), (222, 128, 106), (92, 48, 40)
COAT, SKY = (34, 87, 102), (233, 163, 94)
EYES_X, EYES_Y = (0.375, 0.625), 0.475  # the layout that portraits have here


def draw_style(seed: int = 7) -> Image.Image:
    """The picture, 512 × 512 RGB."""
    rng = np.random.default_rng(seed)
    picture = Image.new("RGB", (SIDE, SIDE), PAPER)
    for shape, colour in _washes():
        picture = _wash(picture, shape, colour, rng)
    picture = ImageChops.multiply(picture, _hatching(rng))
    _draw_ink(ImageDraw.Draw(picture))
    return _on_paper(picture.filter(ImageFilter.GaussianBlur(0.6)), rng)


def _washes() -> list[tuple[list[tuple[float, float]], tuple[int, int, int]]]:
    """Flat colours from back to front, each an outline in fractions of the picture."""
    return [
        (_ellipse(0.5, 0.46, 0.42, 0.42), SKY),
        (_ellipse(0.5, 0.44, 0.29, 0.36), HAIR),
        ([(0.08, 1.0), (0.14, 0.86), (0.36, 0.78), (0.64, 0.78), (0.86, 0.86), (0.92, 1.0)], COAT),
        ([(0.42, 0.76), (0.58, 0.76), (0.61, 0.83), (0.5, 0.9), (0.39, 0.83)], SKIN),
        (_ellipse(0.5, 0.52, 0.215, 0.275), SKIN),
        ([(0.26, 0.46), (0.3, 0.2), (0.5, 0.13), (0.7, 0.2), (0.74, 0.46), (0.68, 0.33),
          (0.52, 0.27), (0.4, 0.3), (0.31, 0.38)], HAIR),
        (_ellipse(0.355, 0.6, 0.05, 0.035), BLUSH),
        (_ellipse(0.645, 0.6, 0.05, 0.035), BLUSH),
    ]  # fmt: skip


def _ellipse(x: float, y: float, rx: float, ry: float) -> list[tuple[float, float]]:
    turns = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    return [(x + rx * np.cos(t), y + ry * np.sin(t)) for t in turns]


def _wash(
    picture: Image.Image,
    shape: list[tuple[float, float]],
    colour: tuple[int, int, int],
    rng: np.random.Generator,
) -> Image.Image:
    """The picture under one wash, its edge uneven and darker, as pigment dries."""
    cover = Image.new("L", picture.size, 0)
    ImageDraw.Draw(cover).polygon([(x * SIDE, y * SIDE) for x, y in shape], fill=255)
    soft = np.asarray(cover.filter(ImageFilter.GaussianBlur(5)), np.float32) / 255
    edge = np.clip((soft + 0.18 * (_clouds(rng, 24) - 0.5) - 0.42) / 0.12, 0, 1)
    rim = edge * np.clip(1.25 - np.abs(soft - 0.5) * 2.5, 0, 1)
    strength = np.clip(edge * (0.86 + 0.14 * _clouds(rng, 90)) + 0.1 * rim, 0, 1)[..., None]
    mixed = np.asarray(picture, np.float32) * (1 - strength) + np.float32(colour) * strength
    return Image.fromarray(mixed.astype(np.uint8))


def _clouds(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """Smooth noise in 0…1 whose blots are about `size_px` wide."""
    cells = max(SIDE // size_px, 2)
    coarse = Image.fromarray((rng.random((cells, cells)) * 255).astype(np.uint8))
    return np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32) / 255


def _hatching(rng: np.random.Generator) -> Image.Image:
    """Slanting pen lines on the side away from the light."""
    sheet = Image.new("RGB", (SIDE, SIDE), "white")
    pen = ImageDraw.Draw(sheet)
    for x in range(352, 410, 8):
        top, bottom = 190 + rng.integers(0, 50), 360 + rng.integers(-40, 20)
        pen.line([(x, top), (x - 36, bottom)], fill=(176, 160, 158), width=2)
    for x in range(60, 480, 11):
        pen.line([(x, 440 + rng.integers(0, 40)), (x - 24, 512)], fill=(150, 150, 160), width=2)
    return sheet


def _draw_ink(pen: ImageDraw.ImageDraw) -> None:
    """Eyes, brows, nose, mouth and the outline of face and coat."""
    for x in EYES_X:
        cx, cy = x * SIDE, EYES_Y * SIDE
        pen.arc([cx - 30, cy - 18, cx + 30, cy + 22], 190, 350, fill=INK, width=5)
        pen.ellipse([cx - 11, cy - 12, cx + 11, cy + 11], fill=INK)
        pen.ellipse([cx + 1, cy - 8, cx + 7, cy - 2], fill=PAPER)
        pen.arc([cx - 38, cy - 52, cx + 38, cy], 205, 335, fill=INK, width=7)
    pen.line([(262, 262), (274, 318), (250, 322)], fill=INK, width=4, joint="curve")
    pen.arc([206, 322, 306, 386], 25, 155, fill=INK, width=5)
    pen.arc([230, 352, 282, 392], 40, 140, fill=INK, width=3)
    pen.arc([146, 126, 366, 408], 20, 160, fill=INK, width=4)
    pen.line([(44, 512), (72, 440), (184, 400), (256, 452), (328, 400), (440, 440), (470, 512)],
             fill=INK, width=4, joint="curve")  # fmt: skip


def _on_paper(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture with the grain of rough paper."""
    grain = _clouds(rng, 3) + 0.5 * _clouds(rng, 7) - 0.75
    shaded = np.asarray(picture, np.float32) + 16 * grain[..., None]
    return Image.fromarray(np.clip(shaded, 0, 255).astype(np.uint8))


if __name__ == "__main__":
    draw_style().save(Path(sys.argv[1]), optimize=True)
