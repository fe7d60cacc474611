"""The `facestudio` command: its parts put together. Nothing heavy is loaded here."""

from __future__ import annotations

from typing import Annotated

import typer

from facestudio import __version__
from facestudio.cli.calibrate import calibrate
from facestudio.cli.console import import_lazily, quiet_libraries
from facestudio.cli.exits import Door, help_if_alone
from facestudio.cli.figures import figures
from facestudio.cli.generate import generate
from facestudio.cli.identity import identity_app
from facestudio.cli.info import info
from facestudio.cli.init import init
from facestudio.cli.serve import serve_app
from facestudio.cli.table import table
from facestudio.cli.verify import verify
from facestudio.cli.web import web
from facestudio.cli.workshop import evaluate, prepare, train_app

HELP = "Portraits of a person from one photo: words, a style picture, or both."

app = typer.Typer(
    cls=Door,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(generate)
app.command()(web)
app.command()(info)
app.command()(verify)
app.add_typer(identity_app, name="identity")
app.command()(prepare)
app.add_typer(train_app, name="train")
app.command()(init)
app.command()(evaluate)
app.add_typer(serve_app, name="serve")
app.command()(table)
app.command()(figures)
app.command()(calibrate)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"facestudio {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True, help=HELP)
def _root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", is_eager=True, callback=_print_version
        ),
    ] = False,
) -> None:
    """Options that stand before the command."""
    help_if_alone(context)


def main() -> None:
    """The console script."""
    quiet_libraries()
    import_lazily()
    app()
