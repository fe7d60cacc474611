"""Draw docs/portraits.jpg: what the shipped model makes of people that may be shown.

    python docs/draw_portraits.py PEOPLE.tar.gz docs/portraits.jpg

PEOPLE: the Face Research Lab London Set (DeBruine & Jones, CC BY 4.0) as a WebDataset tar. The
astronaut is scikit-image's (public domain); style pictures are made from it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from skimage.data import astronaut

from facestudio import FaceStudioPipeline
from facestudio.data.drawing import STYLES
from facestudio.data.sources import RawSample, open_source
from facestudio.faces.align import align_portrait
from facestudio.faces.detect import find_face
from facestudio.images import decode_picture

PX, GAP, LABEL_PX = 128, 6, 18
PEOPLE = 6
LOOKS = ("pencil", "watercolour", "comic")
WORDS = (
    "a portrait photo of a smiling woman",
    "an ink drawing of a woman",
    "a watercolor painting of a woman",
)
Row = tuple[str, list[Image.Image]]


def main(people_tar: Path, target: Path) -> None:
    """Draw every row and write the sheet."""
    pipe = FaceStudioPipeline.from_pretrained("mini")
    photos = [frame(pipe, photo) for photo in [Image.fromarray(astronaut()), *read(people_tar)]]
    styles = [look_of(photos[0], look) for look in LOOKS]
    rows = [("style pictures", [Image.new("RGB", (PX, PX), "white"), *styles])]
    rows += [
        (f"photo · {' · '.join(LOOKS)} · {' · '.join(WORDS)}", portraits(pipe, photo, styles))
        for photo in photos
    ]
    rows += sweeps(pipe, photos, styles) + couples(pipe, photos)
    sheet(rows).save(target, quality=88)


def read(people_tar: Path) -> list[Image.Image]:
    """The first photo of the first people of the tar."""
    first: dict[str, Image.Image] = {}
    for item in open_source(people_tar):
        if isinstance(item, RawSample):
            person = str(item.record.get("person", item.key.rsplit("_", 1)[0]))
            first.setdefault(person, decode_picture(item.picture, item.key))
    return [first[person] for person in sorted(first)[:PEOPLE]]


def frame(pipe: FaceStudioPipeline, photo: Image.Image) -> Image.Image:
    """Head and shoulders, as large as the sheet shows them."""
    return align_portrait(photo, find_face(photo, pipe.detector, largest=True).eyes, 2 * PX)


def look_of(photo: Image.Image, look: str) -> Image.Image:
    """A style picture: the photo redrawn by image processing."""
    drawn = STYLES[look](np.asarray(photo.resize((PX, PX))), np.random.default_rng(0))
    return Image.fromarray(drawn)


def portraits(
    pipe: FaceStudioPipeline, photo: Image.Image, styles: Sequence[Image.Image]
) -> list[Image.Image]:
    """The photo, then the person in each style and by each prompt."""
    person = pipe.identity(photo)
    drawn = [pipe(person, style=style, seed=1).images[0] for style in styles]
    return [photo, *drawn, *[pipe(person, words, seed=1).images[0] for words in WORDS]]


def sweeps(
    pipe: FaceStudioPipeline, photos: Sequence[Image.Image], styles: Sequence[Image.Image]
) -> list[Row]:
    """From words to picture, from one person to another, and from a photo to its drawing."""
    one, other = (pipe.identity(photo) for photo in photos[:2])
    steps = [i / 6 for i in range(7)]
    alphas = [pipe(one, WORDS[0], style=styles[0], alpha=a, seed=1).images[0] for a in steps]
    mixes = [pipe(one.mix(other, w), WORDS[0], seed=1).images[0] for w in steps]
    strengths = [
        pipe(other, WORDS[0], image=photos[0], strength=0.3 + 0.1 * i, seed=1).images[0]
        for i in range(7)
    ]
    return [
        ("alpha, from words to style picture, 0 to 1", alphas),
        ("mix of two people, 0 to 1", mixes),
        ("image-to-image with another person's face, strength 0.3 to 0.9", strengths),
    ]


def couples(pipe: FaceStudioPipeline, photos: Sequence[Image.Image]) -> list[Row]:
    """Two people by region, and the same with one mixed identity over the whole picture."""
    halves = [(0, 0, 0.5, 1), (0.5, 0, 1, 1)]
    rows = []
    for a, b in ((0, 1), (2, 3)):
        people = [pipe.identity(photos[a]), pipe.identity(photos[b])]
        by_region = pipe(people, WORDS[0], regions=halves, width=2 * PX, seed=1).images[0]
        mixed = pipe(people[0].mix(people[1]), WORDS[0], width=2 * PX, seed=1).images[0]
        rows.append(
            (
                "two people · by region · plain cross-attention over their mean",
                [photos[a], photos[b], by_region, mixed],
            )
        )
    return rows


def sheet(rows: Sequence[Row]) -> Image.Image:
    """All rows under each other, each with its label."""
    width = 7 * (PX + GAP)
    canvas = Image.new("RGB", (width, len(rows) * (PX + LABEL_PX + GAP)), "white")
    pen = ImageDraw.Draw(canvas)
    for number, (label, pictures) in enumerate(rows):
        top, left = number * (PX + LABEL_PX + GAP), 0
        pen.text((2, top + 2), label, fill="black")
        for picture in pictures:
            wide = round(picture.width * PX / picture.height)
            canvas.paste(
                picture.resize((wide, PX), Image.Resampling.LANCZOS), (left, top + LABEL_PX)
            )
            left += wide + GAP
    return canvas


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
