"""Draw the style swatches of the page: the astronaut (NASA, public domain) in a dozen looks.

.venv/bin/python demo/draw_swatches.py src/facestudio/web/swatches
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.data import astronaut

from facestudio.data.drawing import STYLES
from facestudio.faces.align import align_portrait
from facestudio.faces.detect import DlibDetector, find_face

LOOKS = (
    "ink", "pencil", "watercolour", "oil", "cartoon", "pop_art", "charcoal", "pastel", "comic",
    "poster", "sepia", "pixel_art",
)  # fmt: skip
PX = 192


def draw_swatches(folder: Path) -> None:
    """One WebP file a look, a few kilobytes each."""
    photo = Image.fromarray(astronaut())
    portrait = np.asarray(align_portrait(photo, find_face(photo, DlibDetector()).eyes, PX))
    folder.mkdir(parents=True, exist_ok=True)
    for name in LOOKS:
        drawn = STYLES[name](portrait, np.random.default_rng(6))
        Image.fromarray(drawn).save(folder / f"{name}.webp", quality=72, method=6)


if __name__ == "__main__":
    draw_swatches(Path(sys.argv[1]))
