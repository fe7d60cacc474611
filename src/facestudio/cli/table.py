"""`facestudio table`: the model beside methods that are tuned for each person."""

from __future__ import annotations

import time

import typer

from facestudio.cli.console import print_json, progress_bar
from facestudio.cli.exits import saying_what_is_kept
from facestudio.cli.workshop import AsJson, Config, DryRun, Overrides, print_settings


def table(
    config: Config,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Compare a model with Textual Inversion and DreamBooth on the same base, with seconds.

    What is done stays done: the same command goes on where it was stopped.
    """
    from facestudio.evaluation import tuning
    from facestudio.settings import load_settings

    settings = load_settings(tuning.TableSettings, config, overrides or ())
    if dry_run:
        print_settings(settings, as_json)
        return
    started = time.perf_counter()
    with (
        saying_what_is_kept(lambda: f"the people finished so far are kept in {settings.out}"),
        progress_bar("people and methods") as show,
    ):
        found = tuning.make_table(settings, show)
    seconds = time.perf_counter() - started
    if as_json:
        answer = {"ok": True, "out": str(settings.out), "report": found.to_dict()}
        print_json({**answer, "seconds": round(seconds, 3)})
        return
    typer.echo(found.to_markdown())
    typer.echo(f"{settings.out}  {seconds:.1f} seconds")
