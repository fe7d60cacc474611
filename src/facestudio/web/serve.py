"""The page served: on this machine alone, with limits on what is sent, leaving nothing on disk."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from facestudio.errors import BadOption, MissingWeights
from facestudio.web.photos import MAX_UPLOAD_MB
from facestudio.web.studio import Studio

if TYPE_CHECKING:
    from facestudio.identities.store import IdentityStore
    from facestudio.pipeline.pipeline import FaceStudioPipeline

LOOPBACK = ("127.0.0.1", "localhost", "::1")
PASSWORD = "FACESTUDIO_WEB_PASSWORD"
USER = "studio"


def check_address(host: str, password: str | None) -> None:
    """Raise BadOption where others could reach the page and no password keeps them out."""
    if host not in LOOPBACK and not password:
        hint = f"set {PASSWORD} (the name to sign in with is {USER!r}), or leave --host out"
        raise BadOption(f"--host {host} lets others on the network in", hint=hint)


def require_gradio() -> None:
    """Raise MissingWeights naming the extra, where the page's library is not installed."""
    try:
        import gradio  # noqa: F401
    except ImportError as problem:
        hint = "pip install 'facestudio[web]', or in a checkout: make web"
        raise MissingWeights("the package gradio is missing", hint=hint) from problem


@contextmanager
def serving(
    pipe: FaceStudioPipeline,
    host: str = LOOPBACK[0],
    port: int | None = None,
    *,
    password: str | None = None,
    browser: bool = False,
    store: IdentityStore | None = None,
) -> Iterator[str]:
    """The page's address while it is served; uploads lie in a folder that goes with it.

    port: None for the first free one from 7860 on. browser: open one. store: of the saved people
    whom everyone who reaches the page may choose. Raises BadOption.
    """
    check_address(host, password)
    with TemporaryDirectory(prefix="facestudio-web-") as folder:
        blocks = _build(pipe, Path(folder), store)
        try:
            yield _launch(blocks, host, port, password, browser)
        finally:
            blocks.close(verbose=False)


def _build(pipe: FaceStudioPipeline, folder: Path, store: IdentityStore | None) -> Any:
    os.environ["GRADIO_TEMP_DIR"] = str(folder)  # where Gradio puts uploads
    from facestudio.web.page import build_page

    return build_page(Studio(pipe), folder, store)


def _launch(blocks: Any, host: str, port: int | None, password: str | None, browser: bool) -> str:
    from facestudio.web.board import read_asset

    logging.getLogger("httpx").setLevel(logging.WARNING)  # Gradio asks itself whether it is up
    try:
        _, address, _ = blocks.launch(
            server_name=host,
            server_port=port,
            auth=(USER, password) if password else None,
            inbrowser=browser,
            prevent_thread_lock=True,
            quiet=True,
            share=False,
            max_file_size=MAX_UPLOAD_MB * 1024 * 1024,
            run_history=False,
            footer_links=[],
            _frontend=False,  # or it gives up where it does not answer itself in 3 seconds
            ssr_mode=False,
            pwa=False,
            enable_monitoring=False,
            mcp_server=False,
            theme=_make_theme(),
            css=read_asset("page.css"),
            favicon_path=str(resources.files("facestudio.web") / "assets" / "icon.svg"),
        )  # fmt: skip
    except OSError as problem:
        hint = "give another --port, or leave it out for a free one"
        raise BadOption(f"port {port} cannot be used: {problem}", hint=hint) from problem
    return str(address)


def _make_theme() -> Any:
    """Indigo on slate, dark enough everywhere to be read; the machine's own fonts."""
    import gradio as gr

    theme = gr.themes.Base(
        primary_hue="indigo", neutral_hue="slate", radius_size="lg",
        font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"],
    )  # fmt: skip
    return theme.set(
        body_text_color_subdued="*neutral_600",
        block_info_text_color="*neutral_600",
        block_label_text_color="*neutral_600",
        block_title_text_color="*neutral_700",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
    )
