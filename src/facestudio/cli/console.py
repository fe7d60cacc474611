"""What a command shows: one JSON object, lines of text, a progress bar on a terminal."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer

from facestudio.pipeline.lazy_imports import SWITCH, make_imports_lazy


def print_json(value: Mapping[str, Any]) -> None:
    """One JSON object on stdout; what JSON has no form for is written as text."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Rows of text in columns as wide as their widest cell."""
    if not rows:
        return
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        typer.echo("  ".join(cells).rstrip())


def quiet_libraries() -> None:
    """Keep notes of libraries out of what a command prints, unless the environment asks for them.

    They read these variables when they are loaded, which no command has done yet.
    """
    for library in ("TRANSFORMERS", "DIFFUSERS", "HF_HUB"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    if not on_terminal():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")


def import_lazily() -> None:
    """Import what a command does not use once it is used, unless the environment says otherwise.

    A command's process is its own, so what it imports when is nobody else's concern; processes that
    it starts do as it does.
    """
    os.environ.setdefault(SWITCH, "1")
    make_imports_lazy()


def on_terminal() -> bool:
    """Whether someone watches stderr: only then are bars drawn."""
    return sys.stderr.isatty()


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """A spinner beside `what` on a terminal, nothing elsewhere."""
    if not on_terminal():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def progress_bar(what: str, total: int | None = None) -> Iterator[Callable[..., None]]:
    """A bar on a terminal; the caller calls `show(done, total)`, with `what=` for new words.

    Elsewhere nothing is drawn.
    """
    if not on_terminal():
        yield lambda done, total=None, *, what=None: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)

        def show(done: int, total: int | None = None, *, what: str | None = None) -> None:
            progress.update(task, completed=done, total=total, description=what)

        yield show
