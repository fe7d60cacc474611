"""`facestudio serve`: the HTTP server, and the API keys that open it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from facestudio.cli.console import print_json, print_table
from facestudio.cli.exits import saying_what_is_kept
from facestudio.errors import MissingWeights

if TYPE_CHECKING:
    from facestudio.server.settings import ServerSettings

serve_app = typer.Typer(
    invoke_without_command=True,
    help="Serve the pipeline over HTTP, or manage the API keys that open the server.",
)

Name = Annotated[str, typer.Argument(help="The key's name.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@serve_app.callback()
def serve(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(help="TOML file of settings.", show_default=False)
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("-s", "--set", metavar="key=value", help="Change a setting: max_queue=10."),
    ] = None,
    host: Annotated[
        str | None, typer.Option(help="Where to listen; other than loopback needs API keys.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="The port [8000].")] = None,
    model: Annotated[str | None, typer.Option(help="mini, a model folder, or a hub name.")] = None,
    data: Annotated[Path | None, typer.Option(help="Where jobs and pictures are kept.")] = None,
    engine: Annotated[
        Literal["local", "ray"] | None, typer.Option(help="Draw here, or on Ray Serve.")
    ] = None,
    replicas: Annotated[int | None, typer.Option(min=1, help="Of Ray Serve.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the settings and stop.")
    ] = False,
) -> None:
    """Serve the pipeline over HTTP until Ctrl-C.

    Settings come from --config, then FACESTUDIO_SERVE_NAME in the environment, then the flags.
    """
    named = {"host": host, "port": port, "model": model, "data": data}
    named |= {"engine": engine, "replicas": replicas}
    flags = [f"{name}={value}" for name, value in named.items() if value is not None]
    settings = _read(config, [*(overrides or ()), *flags])
    context.obj = settings
    if dry_run:
        from facestudio.settings import to_toml

        typer.echo(to_toml(settings), nl=False)
    elif context.invoked_subcommand is None:
        _run(settings)


@serve_app.command()
def add_key(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Make an API key and print it, this one time; only its hash is kept."""
    from facestudio.server.folder import opening
    from facestudio.server.keys import KeyStore

    with opening(context.obj) as database:
        key = KeyStore(database).add(name)
    if as_json:
        print_json({"ok": True, "name": name, "key": key})
    else:
        typer.echo(key)


@serve_app.command()
def list_keys(context: typer.Context, as_json: AsJson = False) -> None:
    """Name all API keys."""
    from facestudio.server.folder import opening
    from facestudio.server.keys import KeyStore

    with opening(context.obj) as database:
        keys = KeyStore(database).list()
    if as_json:
        print_json({"ok": True, "keys": [vars(facts) for facts in keys]})
    elif not keys:
        typer.echo("there is no key; make one with: facestudio serve add-key NAME")
    else:
        print_table([(facts.name, _as_date(facts.created)) for facts in keys])


@serve_app.command()
def remove_key(context: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Remove an API key, and all jobs and saved people that belong to it."""
    from facestudio.server import folder

    folder.remove_key(context.obj, name)
    if as_json:
        print_json({"ok": True, "removed": name})
    else:
        typer.echo(f"removed {name}, and the jobs and people that were its own")


def _read(config: Path | None, flags: list[str]) -> ServerSettings:
    from facestudio.server.settings import read_settings

    return read_settings(config, flags)


def _run(settings: ServerSettings) -> None:
    import logging

    try:
        from facestudio.server import run
    except ModuleNotFoundError as problem:
        hint = "pip install 'facestudio[serve]'"
        raise MissingWeights(f"serving needs the package {problem.name}", hint=hint) from problem
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    with saying_what_is_kept(lambda: f"accepted jobs are kept in {settings.folder}"):
        run.serve(settings)


def _as_date(seconds: float) -> Any:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
