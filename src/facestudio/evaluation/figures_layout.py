"""Rows of pictures with plain labels become one sheet, and the sheet a small JPEG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from facestudio.errors import BadOutput
from facestudio.images import write_bytes

GAP_PX, LABEL_PX, FONT_PX = 4, 18, 13
MOST_BYTES = 200_000
QUALITIES = (92, 88, 84, 80, 75, 70, 65, 60)


@dataclass(frozen=True)
class Row:
    """Pictures side by side; `label` stands over the row, a caption over each picture."""

    pictures: Sequence[Image.Image | None]  # None leaves a square empty
    label: str = ""
    captions: Sequence[str] = ()

    @property
    def lines(self) -> int:
        """How many lines of text stand over the pictures."""
        return bool(self.label) + bool(self.captions)


def draw_rows(rows: Sequence[Row], cell_px: int) -> Image.Image:
    """All rows under each other on white, each picture `cell_px` high."""
    fitted = [[fit(picture, cell_px) for picture in row.pictures] for row in rows]
    width = max(sum(each.width + GAP_PX for each in pictures) for pictures in fitted)
    height = sum(cell_px + GAP_PX + row.lines * LABEL_PX for row in rows)
    sheet = Image.new("RGB", (width - GAP_PX, height), "white")
    top = 0
    for row, pictures in zip(rows, fitted, strict=True):
        draw_row(sheet, row, pictures, top)
        top += cell_px + GAP_PX + row.lines * LABEL_PX
    return sheet


def draw_row(sheet: Image.Image, row: Row, pictures: Sequence[Image.Image], top: int) -> None:
    """Put one row's text and pictures on the sheet."""
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(FONT_PX)
    if row.label:
        pen.text((2, top + 1), row.label, "black", font)
        top += LABEL_PX
    left, below = 0, top + bool(row.captions) * LABEL_PX
    captions = [*row.captions, *[""] * (len(pictures) - len(row.captions))]
    for picture, caption in zip(pictures, captions, strict=True):
        pen.text((left + 2, top + 1), caption, "black", font)
        sheet.paste(picture, (left, below))
        left += picture.width + GAP_PX


def fit(picture: Image.Image | None, height: int) -> Image.Image:
    """The picture at this height in its own aspect; a white square for None."""
    if picture is None:
        return Image.new("RGB", (height, height), "white")
    width = round(picture.width * height / picture.height)
    return picture.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)


def write_small(sheet: Image.Image, path: Path, most_bytes: int = MOST_BYTES) -> None:
    """Write a JPEG of `most_bytes` at most: the best quality that fits. Raises BadOutput."""
    for quality in QUALITIES:
        buffer = io.BytesIO()
        sheet.save(buffer, "JPEG", quality=quality, optimize=True)
        if buffer.tell() <= most_bytes:
            write_bytes(path, buffer.getvalue())
            return
    hint = "set a smaller cell_px"
    message = f"{path} has {buffer.tell()} bytes at the least; {most_bytes} are allowed"
    raise BadOutput(message, file=path, hint=hint)
