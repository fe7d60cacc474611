"""Contact sheets: a person a row, the two photos first, then each condition's picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from facestudio.images import cover, write_picture

CELL_PX = 160
HEAD_PX = 22
ROWS = 12


def write_sheets(
    folder: Path, columns: Sequence[tuple[str, Sequence[Image.Image]]], rows: int = ROWS
) -> list[Path]:
    """Write columns of pictures, each headed by its name, as one sheet for every `rows` people."""
    folder.mkdir(parents=True, exist_ok=True)
    count = len(columns[0][1])
    paths = []
    for number, start in enumerate(range(0, count, rows)):
        part = [(name, pictures[start : start + rows]) for name, pictures in columns]
        path = folder / f"sheet-{number:02d}.jpg"
        write_picture(draw_sheet(part), path)
        paths.append(path)
    return paths


def draw_sheet(columns: Sequence[tuple[str, Sequence[Image.Image]]]) -> Image.Image:
    """One sheet of columns of pictures; every cell is a square."""
    height = HEAD_PX + CELL_PX * max(len(pictures) for _, pictures in columns)
    sheet = Image.new("RGB", (CELL_PX * len(columns), height), "white")
    draw = ImageDraw.Draw(sheet)
    for column, (name, pictures) in enumerate(columns):
        left = column * CELL_PX
        draw.text((left + 4, 5), name, fill="black")
        for row, picture in enumerate(pictures):
            sheet.paste(cover(picture, CELL_PX, CELL_PX), (left, HEAD_PX + row * CELL_PX))
    return sheet
