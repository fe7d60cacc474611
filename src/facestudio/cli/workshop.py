"""`prepare`, `train`, `evaluate`, `calibrate`: settings from TOML, then the library's work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from facestudio.cli.console import on_terminal, print_json, print_table, progress_bar
from facestudio.cli.exits import help_if_alone, saying_what_is_kept

train_app = typer.Typer(
    callback=help_if_alone,
    invoke_without_command=True,
    help="Train one part of a model from prepared sets and a TOML file.",
)

Config = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="TOML file of settings.", show_default=False)
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("-s", "--set", metavar="key=value", help="Change a setting: loop.steps=100."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the settings and stop.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def prepare(
    config: Config,
    overrides: Overrides = None,
    engine: Annotated[
        str | None,
        typer.Option(metavar="local|ray", help="Who does the work; as CONFIG says if not given."),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Turn folders and tars of pictures into a prepared set for training.

    What is done stays done: the same command goes on where it was stopped.
    """
    from facestudio.data.prepare import PrepareSettings
    from facestudio.data.prepare import prepare as prepare_set
    from facestudio.settings import load_settings

    chosen = [*(overrides or ()), *([f"engine={engine}"] if engine else ())]
    settings = load_settings(PrepareSettings, config, chosen)
    if dry_run:
        print_settings(settings, as_json)
        return
    started = time.perf_counter()
    with saying_what_is_kept(lambda: f"finished shards are kept in {settings.out}"):
        report = prepare_set(settings, progress=on_terminal())
    figures = {
        "samples": report.samples,
        "with_person": report.with_person,
        "shards": report.shards,
        "skipped_shards": report.skipped_shards,
        "left_out": report.counts(),
    }
    _print_result(figures, settings.out, time.perf_counter() - started, as_json)


def _add_trainer(part: str, what: str) -> None:
    """One `facestudio train PART`; the module `facestudio.training.PART` does the work."""

    def train(
        config: Config,
        overrides: Overrides = None,
        dry_run: DryRun = False,
        resume: Annotated[
            bool | None,
            typer.Option(help="Go on from the last checkpoint; as CONFIG says if not given."),
        ] = None,
        as_json: AsJson = False,
    ) -> None:
        chosen = [*(overrides or ())]
        if resume is not None:
            chosen.append(f"loop.resume={str(resume).lower()}")
        _train(part, config, chosen, dry_run, as_json)

    train.__doc__ = f"Train {what}."
    train_app.command(part)(train)


_add_trainer("unet", "the U-Net and the guidance layer")
_add_trainer("towers", "the picture and text towers")
_add_trainer("prior", "the prior that turns words into a style")
_add_trainer("codec", "the codec between pictures and latents")
_add_trainer("encoder", "the identity encoder")
_add_trainer("decoder", "the decoder of the codec for the generator it serves")
_add_trainer("reader", "what tells whether a picture shows what was asked for")
_add_trainer("look", "what knows the look of a style picture")


@train_app.command()
def classifiers(
    config: Config,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Fit what judges styles and attributes in an evaluation; no part of a model."""
    from facestudio.evaluation.classifiers import Settings, fit_classifiers
    from facestudio.settings import load_settings

    settings = load_settings(Settings, config, overrides or ())
    if dry_run:
        print_settings(settings, as_json)
        return
    started = time.perf_counter()
    with progress_bar("looking at pictures") as show:
        fitted = fit_classifiers(settings, show)
    _print_result(fitted.right(), settings.out, time.perf_counter() - started, as_json)


def _train(part: str, config: Path, overrides: list[str], dry_run: bool, as_json: bool) -> None:
    from facestudio.settings import load_settings

    trainer = import_module(f"facestudio.training.{part}")
    settings = load_settings(trainer.Settings, config, overrides)
    if dry_run:
        print_settings(settings, as_json)
        return
    started = time.perf_counter()
    out: Path = settings.loop.out
    with (
        saying_what_is_kept(lambda: _kept_of_training(out)),
        _reports(settings.loop.steps) as report,
    ):
        exported = trainer.train(settings, report)
    _print_result({"exported": str(exported)}, out, time.perf_counter() - started, as_json)


def _kept_of_training(out: Path) -> str:
    kept = sorted(path for path in out.glob("step-*") if path.is_dir())
    if not kept:
        return "no checkpoint was written yet"
    return f"kept: {kept[-1]}; the same command goes on from there"


@contextmanager
def _reports(steps: int) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """What the loop calls with its figures: a bar on a terminal, else a line each time."""
    with progress_bar("training", steps) as show:

        def report(step: int, figures: dict[str, float]) -> None:
            show(step, what=_figures_text(figures))
            if not on_terminal():
                typer.echo(f"step {step}: {_figures_text(figures)}", err=True)

        yield report


def _figures_text(figures: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())


def evaluate(
    config: Config,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measure a model: likeness beside real pairs and strangers, and the other tables."""
    from facestudio import evaluation
    from facestudio.settings import load_settings

    settings = load_settings(evaluation.EvaluationSettings, config, overrides or ())
    if dry_run:
        print_settings(settings, as_json)
        return
    kept = f"the pictures made so far are kept in {settings.out}"
    print_report(evaluation.evaluate, settings, "making pictures", kept, as_json)


def print_report(
    make: Callable[[Any, Any], Any], settings: Any, doing: str, kept: str, as_json: bool
) -> None:
    """Make a report under a progress bar and print it; `kept` is said where it is interrupted."""
    started = time.perf_counter()
    with saying_what_is_kept(lambda: kept), progress_bar(doing) as show:
        report = make(settings, show)
    seconds = time.perf_counter() - started
    if as_json:
        answer = {"ok": True, "out": str(settings.out), "report": report.to_dict()}
        print_json({**answer, "seconds": round(seconds, 3)})
        return
    typer.echo(report.to_markdown())
    typer.echo(f"{settings.out}  {seconds:.1f} seconds")


def print_settings(settings: Any, as_json: bool) -> None:
    """The settings after all changes, as TOML that may be read again, or as JSON."""
    from facestudio.settings import to_dict, to_toml

    if as_json:
        print_json({"ok": True, "settings": to_dict(settings)})
    else:
        typer.echo(to_toml(settings), nl=False)


def _print_result(figures: dict[str, Any], out: Path, seconds: float, as_json: bool) -> None:
    if as_json:
        print_json({"ok": True, "out": str(out), **figures, "seconds": round(seconds, 3)})
        return
    print_table([(name, str(value)) for name, value in figures.items()])
    typer.echo(f"{out}  {seconds:.1f} seconds")
