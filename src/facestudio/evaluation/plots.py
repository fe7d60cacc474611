"""Plots of a report: bars with their intervals between the floor and the ceiling."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from facestudio.evaluation.measures import Estimate
from facestudio.images import write_picture

if TYPE_CHECKING:
    from facestudio.evaluation.report import Report

NAME_PX, PLOT_PX, ROW_PX, MARGIN_PX = 300, 460, 22, 34
BAR, NOBODY_BAR, LINE, INK = "#4878a8", "#b0b0b0", "#c04030", "#202020"
Row = tuple[str, Estimate, str]  # name, value, colour


def write_plots(report: Report, folder: Path) -> list[Path]:
    """Write likeness.png, and groups.png where there are groups."""
    folder.mkdir(parents=True, exist_ok=True)
    real = report.real[report.trusted]
    marks = [("strangers", real.strangers), ("two real photos", real.same.mean)]
    plots = {"likeness": (_likeness_rows(report), "likeness to the reference")}
    if report.groups:
        rows = [(name, each.reference, BAR) for name, each in report.groups.items()]
        plots["groups"] = (rows, "likeness to the reference, photographic, by group")
    paths = []
    for name, (rows, title) in plots.items():
        paths.append(folder / f"{name}.png")
        write_picture(draw_bars(rows, title, marks), paths[-1])
    return paths


def _likeness_rows(report: Report) -> list[Row]:
    return [
        (each.name, (each.independent or each.own).reference, BAR if each.identity else NOBODY_BAR)
        for each in report.conditions
    ]


def draw_bars(rows: Sequence[Row], title: str, marks: Sequence[tuple[str, float]]) -> Image.Image:
    """A bar with its interval for each row, and an upright line for each mark, from 0 to 1."""
    height = 2 * MARGIN_PX + ROW_PX * len(rows)
    image = Image.new("RGB", (NAME_PX + PLOT_PX + MARGIN_PX, height), "white")
    draw = ImageDraw.Draw(image)
    draw.text((8, 8), title, fill=INK)
    for number, (name, value, colour) in enumerate(rows):
        top = MARGIN_PX + number * ROW_PX
        draw.text((8, top + 4), name, fill=INK)
        if value.n:
            _draw_bar(draw, top, value, colour)
    bottom = MARGIN_PX + ROW_PX * len(rows)
    for name, place in marks:
        draw.line([(_x(place), MARGIN_PX), (_x(place), bottom + 4)], fill=LINE, width=2)
        draw.text((_x(place) - 20, bottom + 8), name, fill=LINE)
    return image


def _draw_bar(draw: ImageDraw.ImageDraw, top: int, value: Estimate, colour: str) -> None:
    middle = top + ROW_PX // 2
    ends = sorted((_x(0), _x(value.mean)))
    draw.rectangle([ends[0], top + 4, ends[1], top + ROW_PX - 4], fill=colour)
    draw.line([(_x(value.low), middle), (_x(value.high), middle)], fill=INK, width=1)
    draw.text((max(_x(value.high), _x(0)) + 6, top + 4), f"{value.mean:.3f}", fill=INK)


def _x(value: float) -> int:
    """The column of a likeness; a little under 0 still has room."""
    return NAME_PX + round(PLOT_PX * (min(max(value, -0.1), 1) + 0.1) / 1.1)
