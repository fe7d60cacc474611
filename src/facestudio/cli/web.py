"""`facestudio web`: the page, for those who would rather click."""

from __future__ import annotations

import os
import threading
from typing import Annotated

import typer

from facestudio.cli.console import waiting


def web(
    host: Annotated[
        str, typer.Option(help="Address to serve on; others than this machine need a password.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port [first free from 7860].")
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")
    ] = True,
    people: Annotated[
        bool | None,
        typer.Option(help="Offer the people you saved [where only this machine can reach it]."),
    ] = None,
    model: Annotated[str, typer.Option(help="mini, a model folder, or a hub name.")] = "mini",
) -> None:
    """Open a page in the browser: photo, style, words, portraits.

    Only this machine can reach it. Ctrl-C ends it, and all that was uploaded is gone.
    """
    from facestudio.identities.store import IdentityStore
    from facestudio.web.serve import LOOPBACK, PASSWORD, check_address, require_gradio, serving

    password = os.environ.get(PASSWORD)
    check_address(host, password)
    require_gradio()
    with waiting(f"loading {model}"):
        from facestudio import FaceStudioPipeline
        from facestudio.provenance.content import find_checker

        pipe = FaceStudioPipeline.from_pretrained(model)
        pipe.content_checker = find_checker()
    store = IdentityStore() if (host in LOOPBACK if people is None else people) else None
    with serving(pipe, host, port, password=password, browser=browser, store=store) as address:
        typer.echo(f"the page is at {address} (Ctrl-C ends it)")
        wait_for_ctrl_c()


def wait_for_ctrl_c() -> None:
    """Do nothing until the user interrupts; the page is served by a thread of its own."""
    threading.Event().wait()
