"""Figures as text, and tables of them in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

from facestudio.evaluation.measures import Estimate


def show(value: Estimate) -> str:
    """ "0.512 (0.498-0.526)", or a dash where there is nothing."""
    if not value.n:
        return "-"
    return f"{value.mean:.3f} ({value.low:.3f}-{value.high:.3f})"


def share(value: Estimate) -> str:
    """A share in per cent, or a dash where there is nothing."""
    return f"{100 * value.mean:.1f} %" if value.n else "-"


def number(value: float | None) -> str:
    """Three digits that count, or a dash where there is nothing."""
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.3g}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table; a bar inside a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines]
