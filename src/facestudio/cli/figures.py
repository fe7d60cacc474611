"""`facestudio figures`: the paper's figures, drawn by a model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from facestudio.cli.console import print_json, progress_bar
from facestudio.cli.exits import saying_what_is_kept
from facestudio.cli.workshop import AsJson, Config, DryRun, Overrides, print_settings


def figures(
    config: Config,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder of the figures.", show_default=False)
    ] = None,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Draw the paper's figures: small labelled JPEGs and a page that shows them."""
    from facestudio.evaluation.figures import FiguresSettings, make_figures
    from facestudio.settings import load_settings

    chosen = [*(overrides or ()), *([] if out is None else [f"out={out}"])]
    settings = load_settings(FiguresSettings, config, chosen)
    if dry_run:
        print_settings(settings, as_json)
        return
    started = time.perf_counter()
    with (
        saying_what_is_kept(lambda: f"the figures finished so far are in {settings.out}"),
        progress_bar("figures") as show,
    ):
        paths = make_figures(settings, lambda name, done, total: show(done, total, what=name))
    seconds = round(time.perf_counter() - started, 3)
    if as_json:
        outputs = [{"path": str(path)} for path in paths]
        print_json({"ok": True, "outputs": outputs, "seconds": seconds})
        return
    for path in paths:
        typer.echo(str(path))
    typer.echo(f"{seconds:.1f} seconds")
