"""Drawn looks made from a photograph: pencil, ink, cartoon, oil, and more, numpy only.

Each look keeps every feature of the person in its place, so a photo and its drawing are a pair
that says: a style is a way to show the same person. A look is a function of a picture and a source
of chance, `look(photo, rng)`, uint8 (H, W, 3) in and out, and does not change the photo.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facestudio.data.brushes import (
    Array,
    blur,
    dots,
    fade,
    flatten,
    grain,
    hatching,
    levels_of,
    lines_of,
    ramp,
    saturate,
    smear,
    step,
    stretch,
    strokes_along,
    tone_of,
)

Picture = NDArray[np.uint8]
Look = Callable[[Picture, np.random.Generator], Picture]

WHITE = np.array([1.0, 1.0, 1.0], np.float32)
CREAM = np.array([0.97, 0.94, 0.86], np.float32)
POSTER_PALETTES = np.array(
    [
        [(12, 40, 64), (190, 40, 38), (112, 150, 160), (250, 228, 178)],
        [(26, 20, 40), (120, 40, 90), (236, 110, 70), (255, 224, 160)],
        [(14, 44, 40), (30, 110, 100), (240, 170, 60), (252, 240, 210)],
        [(20, 24, 60), (40, 90, 160), (110, 180, 210), (248, 246, 232)],
    ],
    np.float32,
) / np.float32(255)
DUOTONES = np.array(
    [
        [(30, 10, 70), (250, 120, 110)],
        [(10, 30, 80), (250, 220, 90)],
        [(60, 10, 60), (120, 230, 220)],
        [(10, 50, 50), (250, 190, 200)],
        [(40, 20, 90), (240, 240, 230)],
    ],
    np.float32,
) / np.float32(255)


def pencil(photo: Picture, rng: np.random.Generator) -> Picture:
    """A grey pencil drawing on white paper, with hatched shadows."""
    tone = stretch(tone_of(_floats(photo)))
    dodged = np.clip(tone / np.maximum(blur(tone, rng.uniform(3, 5)), 0.08), 0, 1) ** 1.5
    shade = step(hatching(tone.shape, rng.uniform(0.5, 1.0), 2.6, rng), 1.1 - 1.3 * tone, 0.9)
    drawn = dodged * lines_of(tone, 0.6, 9) * (0.62 + 0.38 * shade) * (0.72 + 0.28 * tone)
    drawn = 1 - (1 - drawn) * (0.9 + 0.14 * grain(tone.shape, 0.4, rng))
    return _on_paper(drawn, WHITE * 0.98, rng, loose=0.7)


def ink(photo: Picture, rng: np.random.Generator) -> Picture:
    """A pen and ink drawing: black lines, solid blacks and hatched half-tones on white."""
    tone = stretch(tone_of(flatten(_floats(photo), 1.5)))
    blacks = step(blur(tone, 0.6), rng.uniform(0.16, 0.24), 0.06)
    hatch = step(hatching(tone.shape, 0.8, 3.0, rng), 1.15 - 1.9 * tone, 0.25)
    drawn = lines_of(tone, 0.75, 40) * blacks * hatch
    return _on_paper(drawn, WHITE, rng, loose=0.6)


def line_art(photo: Picture, rng: np.random.Generator) -> Picture:
    """Thin black contour lines on white and nothing else."""
    tone = stretch(tone_of(flatten(_floats(photo), 1.5))) ** 0.7
    drawn = lines_of(tone, rng.uniform(0.75, 0.95), 30)
    return _on_paper(step(drawn, 0.55, 0.5), WHITE, rng, loose=0.7)


def charcoal(photo: Picture, rng: np.random.Generator) -> Picture:
    """A charcoal drawing: broad soft black strokes on rough paper."""
    tone = stretch(blur(tone_of(_floats(photo)), 0.5)) ** 1.05
    tooth, rubs = grain(tone.shape, 0.5, rng), hatching(tone.shape, 0.75, 4.5, rng) - 0.5
    smudge = blur(np.clip(tone + 0.05 * tooth + 0.2 * rubs * (1 - tone), 0, 1), 0.6)
    drawn = np.clip(0.10 + 1.05 * smudge, 0, 1) * lines_of(tone, 1.1, 16)
    drawn = np.clip(drawn + 0.05 * tooth * (1 - drawn), 0, 1)
    return _on_paper(drawn, CREAM * 0.97, rng, loose=0.7)


def chalk(photo: Picture, rng: np.random.Generator) -> Picture:
    """White chalk on a blackboard or on dark paper."""
    tone = stretch(tone_of(_floats(photo)))
    board = np.array([(0.10, 0.13, 0.12), (0.08, 0.10, 0.16), (0.13, 0.12, 0.11)], np.float32)
    dust = 0.35 * hatching(tone.shape, 0.8, 3.6, rng) + 0.7 + 0.10 * grain(tone.shape, 0.4, rng)
    contour = 1 - lines_of(1 - tone, 0.8, 20)
    white = np.clip(tone**1.15 * dust + 0.45 * contour * dust, 0, 1) * fade(tone.shape, rng)
    return _bytes(ramp(white, np.stack([board[rng.integers(3)], CREAM])))


def coloured_pencil(photo: Picture, rng: np.random.Generator) -> Picture:
    """A drawing in coloured pencils: light strokes of colour with white paper between them."""
    image = _floats(photo)
    tone = stretch(tone_of(image))
    colour = saturate(flatten(image, 1.5), 1.5) ** 0.75
    stroke = smear(rng.random(tone.shape, np.float32), strokes_along(tone), 4)
    cover = np.clip(0.95 - 0.55 * tone + 1.2 * (stroke - 0.5), 0.12, 1) * fade(tone.shape, rng)
    drawn = 1 - cover[..., None] * (1 - colour)
    return _bytes(drawn * (0.35 + 0.65 * lines_of(tone, 0.7, 14))[..., None])


def cartoon(photo: Picture, rng: np.random.Generator) -> Picture:
    """A cartoon: flat bright colours in few steps of light, dark outlines."""
    image = _floats(photo)
    flat = flatten(image, 2)
    flat = np.clip(flat + 0.8 * (image - blur(image, 1.5)), 0, 1)
    tone = tone_of(flat)
    steps = rng.integers(5, 7)
    level = (np.floor(tone * steps) + step(tone * steps % 1, 0.5, 0.35)) / steps
    bright = saturate(flat * (level / np.maximum(tone, 0.05))[..., None], rng.uniform(1.5, 1.9))
    return _bytes(np.clip(bright * 1.1 + 0.04, 0, 1) * lines_of(tone, 0.8, 20)[..., None])


def comic(photo: Picture, rng: np.random.Generator) -> Picture:
    """A printed comic panel: black ink, flat colours, dots of a printer's screen."""
    flat = saturate(flatten(_floats(photo), 1.5), 1.8)
    tone = stretch(tone_of(flat)) ** 0.8
    colours = np.rint(np.clip(flat * 1.25, 0, 1) * 4) / 4
    screen = dots(tone.shape, rng.uniform(0.3, 1.2), 3.4)
    dotted = step(screen, 0.95 - 0.9 * (tone - 0.15), 0.3)[..., None]
    panel = colours + (1 - colours) * 0.6 * dotted
    blacks = step(tone, 0.14, 0.08) * lines_of(tone, 0.8, 28)
    return _bytes(panel * blacks[..., None] * CREAM)


def oil(photo: Picture, rng: np.random.Generator) -> Picture:
    """An oil painting: strokes of thick paint that follow the shapes and catch the light."""
    image = flatten(_floats(photo), 2.5)
    along = strokes_along(tone_of(image))
    paint = smear(image, along, 3)
    bristles = smear(grain(image.shape, 0.5, rng), along, 5)
    relief = np.gradient(bristles)[0] + np.gradient(bristles)[1]
    rich = saturate(np.clip(1.12 * (paint - 0.5) + 0.49, 0, 1), 1.35)
    lit = rich + (0.12 * relief + 0.05 * bristles)[..., None] * (0.3 + rich)
    return _bytes(lit * np.array([1.02, 1.0, 0.93], np.float32))


def watercolour(photo: Picture, rng: np.random.Generator) -> Picture:
    """A watercolour: thin washes with dark rims, pigment in the paper's grain, white paper left."""
    image = _floats(photo)
    image = np.clip(flatten(image, 2) + 0.5 * (image - blur(image, 1.2)), 0, 1)
    tone = tone_of(image)
    wash = saturate(image, 1.5) ** 0.62
    rim = np.clip(np.abs(tone - blur(tone, 1.2)) * 3.5, 0, 0.3)
    pool = 0.10 * grain(tone.shape, 7, rng) + 0.04 * grain(tone.shape, 0.5, rng)
    pigment = np.clip((1 - wash) * (1 + pool + rim)[..., None] + 0.35 * rim[..., None], 0, 1)
    return _bytes(1 - pigment * fade(tone.shape, rng)[..., None] * (2 - CREAM))


def pastel(photo: Picture, rng: np.random.Generator) -> Picture:
    """A pastel drawing: soft pale colours rubbed into toothed paper."""
    image = blur(flatten(_floats(photo), 1.5), 0.35)
    pale = 0.30 + 0.68 * saturate(image, 1.45) ** 0.85
    tooth = grain(image.shape, 0.35, rng)
    rubs = 0.06 * (hatching(tooth.shape, 0.7, 3.5, rng) - 0.5)
    return _bytes(pale + (rubs + 0.04 * tooth)[..., None])


def halftone(photo: Picture, rng: np.random.Generator) -> Picture:
    """A newspaper print: black dots whose size says how dark it is, on off-white paper."""
    tone = _crisp(photo, 1.3, 2)
    screen = dots(tone.shape, np.pi / 4 + rng.uniform(-0.2, 0.2), rng.uniform(2.8, 3.6))
    printed = step(0.12 + 0.80 * tone, screen, 0.15)
    return _reduced(ramp(printed, np.stack([WHITE * 0.08, CREAM])), photo.shape)


def engraving(photo: Picture, rng: np.random.Generator) -> Picture:
    """An engraving: black lines that swell in the shadows, as on a banknote."""
    tone = _crisp(photo, 1.2, 2)
    ridges = hatching(tone.shape, rng.uniform(-0.5, 0.5), 2.6, rng, bend=5.0 * blur(tone, 4))
    printed = step(0.06 + 0.94 * tone, ridges, 0.2)
    return _reduced(ramp(printed, np.stack([WHITE * 0.1, CREAM])), photo.shape)


def poster(photo: Picture, rng: np.random.Generator) -> Picture:
    """A screen-printed poster: four flat inks from dark to light."""
    image = flatten(_floats(photo), 1)
    tone = stretch(tone_of(image + 0.8 * (image - blur(image, 2.5)))) ** 0.85
    palette = POSTER_PALETTES[rng.integers(len(POSTER_PALETTES))]
    return _bytes(ramp(levels_of(tone, (0.27, 0.5, 0.73)), palette))


def pop_art(photo: Picture, rng: np.random.Generator) -> Picture:
    """A pop-art print: loud colours that are not the photo's, black shadows."""
    tone = stretch(tone_of(flatten(_floats(photo), 1))) ** 0.75
    hues = (rng.random() + np.array([0.0, rng.uniform(0.3, 0.45), rng.uniform(0.6, 0.75)])) % 1.0
    inks = np.stack([_vivid(hue) for hue in hues])
    inks = inks[np.argsort(inks @ np.array([0.3, 0.59, 0.11]))]
    printed = ramp(levels_of(tone, (0.38, 0.64)), inks)
    blacks = step(tone, 0.22, 0.06) * lines_of(tone, 0.8, 20)
    return _bytes(printed * blacks[..., None])


def duotone(photo: Picture, rng: np.random.Generator) -> Picture:
    """A print in two inks: one for the shadows, one for the lights."""
    tone = stretch(tone_of(_floats(photo)))
    return _bytes(ramp(tone, DUOTONES[rng.integers(len(DUOTONES))]))


def sepia(photo: Picture, rng: np.random.Generator) -> Picture:
    """An old sepia photograph: brown tones, soft lens, grain, dark corners."""
    tone = stretch(blur(tone_of(_floats(photo)), rng.uniform(0.3, 0.6))) * 0.92 + 0.05
    height, width = tone.shape
    rows, columns = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    tone = tone * (1 - 0.22 * (rows**2 + columns**2) / 2) + 0.02 * grain(tone.shape, 0.4, rng)
    browns = np.array([(0.13, 0.07, 0.03), (0.55, 0.40, 0.25), (0.98, 0.91, 0.76)], np.float32)
    return _bytes(ramp(tone.astype(np.float32), browns))


def pixel_art(photo: Picture, rng: np.random.Generator) -> Picture:
    """Pixel art: a small grid of square pixels in few colours."""
    height, width = photo.shape[:2]
    cells = int(rng.integers(44, 58))
    grid = (cells * width // min(height, width), cells * height // min(height, width))
    vivid = Image.fromarray(_bytes(saturate(_floats(photo), 1.4)))
    small = vivid.resize(grid, Image.Resampling.BOX).quantize(16, dither=Image.Dither.NONE)
    return np.asarray(small.convert("RGB").resize((width, height), Image.Resampling.NEAREST))


STYLES: dict[str, Look] = {
    look.__name__: look
    for look in (
        pencil, ink, line_art, charcoal, chalk, coloured_pencil, cartoon, comic, oil, watercolour,
        pastel, halftone, engraving, poster, pop_art, duotone, sepia, pixel_art,
    )
}  # fmt: skip

STYLE_WORDS: dict[str, tuple[str, ...]] = {
    "pencil": ("a pencil drawing", "a pencil sketch", "a graphite drawing"),
    "ink": ("an ink drawing", "a pen and ink drawing", "a black and white ink drawing"),
    "line_art": ("a line drawing", "line art", "a black and white line drawing"),
    "charcoal": ("a charcoal drawing", "a charcoal sketch"),
    "chalk": ("a chalk drawing", "a white chalk drawing on a blackboard"),
    "coloured_pencil": ("a coloured pencil drawing", "a colored pencil drawing"),
    "cartoon": ("a cartoon", "a cartoon drawing"),
    "comic": ("a comic book drawing", "a comic", "a comic strip panel"),
    "oil": ("an oil painting", "a painting in oil", "a painting"),
    "watercolour": ("a watercolour painting", "a watercolor painting", "a watercolor"),
    "pastel": ("a pastel drawing", "a soft pastel painting"),
    "halftone": ("a halftone print", "a newspaper print", "a black and white halftone"),
    "engraving": ("an engraving", "a black and white engraving", "an etching"),
    "poster": ("a poster", "a screen-printed poster", "a flat graphic poster"),
    "pop_art": ("a pop art print", "pop art"),
    "duotone": ("a duotone print", "a two-colour print"),
    "sepia": ("a sepia photograph", "an old photograph", "a vintage sepia photo"),
    "pixel_art": ("pixel art", "a pixel art picture"),
}


def _vivid(hue: float) -> Array:
    corners = np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1
    return (0.2 + 0.75 * np.clip(corners, 0, 1)).astype(np.float32)


def _on_paper(drawn: Array, paper: Array, rng: np.random.Generator, loose: float) -> Picture:
    """Grey strokes (H, W; 1 is bare) on `paper`, ending in an oval with probability `loose`."""
    if rng.random() < loose:
        drawn = 1 - (1 - drawn) * fade(drawn.shape, rng)
    return _bytes(np.clip(drawn, 0, 1)[..., None] * paper)


def _floats(photo: Picture) -> Array:
    return photo.astype(np.float32) / np.float32(255)


def _bytes(image: Array) -> Picture:
    return np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)


def _crisp(photo: Picture, sigma: float, times: int) -> Array:
    """Sharpened brightness at `times` the photo's size, for dots and lines with smooth rims."""
    tone = stretch(tone_of(_floats(photo))) ** 0.85
    sharp = np.clip(tone + 1.2 * (tone - blur(tone, sigma)), 0, 1)
    height, width = tone.shape
    large = Image.fromarray(sharp).resize((width * times, height * times), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(large, np.float32), 0, 1)


def _reduced(image: Array, shape: tuple[int, ...]) -> Picture:
    small = Image.fromarray(_bytes(image)).resize((shape[1], shape[0]), Image.Resampling.BOX)
    return np.asarray(small)
