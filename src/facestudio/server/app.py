"""The app: settings and an engine become an ASGI application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI

from facestudio import __version__
from facestudio.server import answers, routes_jobs, routes_people, routes_server
from facestudio.server.database import Database
from facestudio.server.desk import DeskParts
from facestudio.server.dispatcher import Dispatcher
from facestudio.server.folder import DATABASE, JOBS, PEOPLE
from facestudio.server.forms import describe_bodies
from facestudio.server.guard import Guard
from facestudio.server.jobs import JobStore
from facestudio.server.keys import KeyStore
from facestudio.server.metrics import Metrics
from facestudio.server.people import People
from facestudio.server.settings import ServerSettings
from facestudio.server.work import Engine

logger = logging.getLogger("facestudio.server")

ABOUT = """Portraits of a person from one photo: words, a style picture, or both.

Ask at `/v1/generate`, watch the job's events, fetch its pictures. Draw only people who agreed."""


def make_app(
    settings: ServerSettings, engine: Engine, on_failure: Callable[[Exception], None]
) -> FastAPI:
    """The application. The model is loaded once it answers; `on_failure` hears if it cannot be."""
    desk = open_desk(settings, engine)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(begin(desk, on_failure))
        try:
            yield
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            await desk.dispatcher.stop()
            await engine.stop()
            desk.database.close()

    app = FastAPI(
        title="FaceStudio",
        version=__version__,
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.desk = desk
    for routes in (routes_jobs, routes_people, routes_server):
        app.include_router(routes.router)
    answers.install(app)
    describe_bodies(app)
    app.add_middleware(Guard, metrics=desk.metrics, max_bytes=settings.max_upload_bytes)
    return app


def open_desk(settings: ServerSettings, engine: Engine) -> DeskParts:
    """The server's parts, on what is in its folder."""
    folder = settings.folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    database, metrics = Database(folder / DATABASE), Metrics()
    store, people = JobStore(database, folder / JOBS), People(folder / PEOPLE)
    dispatcher = Dispatcher(store, engine, people, settings, metrics)
    keys = KeyStore(database)
    return DeskParts(settings, database, keys, store, people, engine, dispatcher, metrics)


async def begin(desk: DeskParts, on_failure: Callable[[Exception], None]) -> None:
    """Load the model, then take up the jobs that were left."""
    try:
        desk.model = await desk.engine.start()
        desk.dispatcher.start()
        logger.info("ready to draw with %s", desk.model.name)
    except Exception as problem:
        on_failure(problem)
