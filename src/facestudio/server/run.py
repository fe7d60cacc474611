"""Run the server until it is interrupted."""

from __future__ import annotations

from functools import partial

import uvicorn

from facestudio.server.app import make_app
from facestudio.server.folder import check_keys, holding_folder
from facestudio.server.settings import ServerSettings
from facestudio.server.work import Engine

LEAVING_S = 5  # how long open connections may take at the end


def serve(settings: ServerSettings) -> None:
    """Serve until interrupted. Raises BadOption, and ModelError if the model cannot be loaded."""
    with holding_folder(settings):
        check_keys(settings)
        failures: list[Exception] = []

        def give_up(problem: Exception) -> None:
            failures.append(problem)
            server.should_exit = True

        app = make_app(settings, make_engine(settings), give_up)
        server = uvicorn.Server(
            uvicorn.Config(
                app,
                host=settings.host,
                port=settings.port,
                access_log=False,
                log_config=None,
                server_header=False,
                timeout_graceful_shutdown=LEAVING_S,
            )
        )
        server.run()
        if failures:
            raise failures[0]


def make_engine(settings: ServerSettings) -> Engine:
    """The engine that the settings name. Raises MissingWeights where Ray is not installed."""
    if settings.engine == "ray":
        from facestudio.server.ray_engine import RayEngine

        return RayEngine(settings)
    from facestudio.server.engine import LocalEngine
    from facestudio.server.painter import Painter

    most_px = settings.max_side_px
    return LocalEngine(partial(Painter.load, settings.model, settings.threads, most_px=most_px))
