"""The style pictures that ship with the page, made by `demo/draw_swatches.py`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from io import BytesIO

from PIL import Image

# In the order they are shown, \u00ad where a long one may be broken. The first is chosen for
# who chooses none.
TITLES = {
    "oil": "Oil",
    "watercolour": "Water\u00adcolour",
    "pencil": "Pencil",
    "ink": "Ink",
    "cartoon": "Cartoon",
    "pop_art": "Pop art",
    "charcoal": "Charcoal",
    "pastel": "Pastel",
    "comic": "Comic",
    "poster": "Poster",
    "sepia": "Sepia",
    "pixel_art": "Pixels",
}
FIRST = next(iter(TITLES))


@dataclass(frozen=True)
class Swatch:
    """A style picture with the name it is shown under."""

    name: str
    title: str
    image: Image.Image


@cache
def read_swatches() -> dict[str, Swatch]:
    """All swatches by name, read once."""
    folder = resources.files("facestudio.web").joinpath("swatches")
    return {
        name: Swatch(name, title, _read(folder.joinpath(f"{name}.webp").read_bytes()))
        for name, title in TITLES.items()
    }


def _read(data: bytes) -> Image.Image:
    with Image.open(BytesIO(data)) as image:
        return image.convert("RGB")
