"""`facestudio init`: trained parts become a model folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from facestudio.cli.console import print_json
from facestudio.cli.workshop import AsJson, Config, Overrides


def init(
    config: Config,
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write.")],
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Put trained parts together into a model folder that `--model` takes."""
    from facestudio.pipeline.assemble import AssembleSettings, assemble
    from facestudio.settings import load_settings

    settings = load_settings(AssembleSettings, config, overrides or ())
    started = time.perf_counter()
    assemble(settings, out)
    size_mb = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / 1e6
    if as_json:
        seconds = round(time.perf_counter() - started, 3)
        print_json({"ok": True, "out": str(out), "size_mb": round(size_mb, 1), "seconds": seconds})
    else:
        typer.echo(f"{out}  {size_mb:.1f} MB")
