"""The same engine on replicas of Ray Serve, on this machine or many (https://docs.ray.io/serve).

Each replica is a local engine with a model of its own. Ray starts another where one dies; what it
was drawing is drawn again. This process keeps the queue, the jobs and the pictures.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import Any

from facestudio.errors import FaceStudioError, MissingWeights, ServerFault
from facestudio.faces.detect import Face
from facestudio.identities.profile import Profile
from facestudio.server.engine import LocalEngine
from facestudio.server.painter import Painter
from facestudio.server.settings import ServerSettings
from facestudio.server.work import EngineLost, Event, ModelCard, Work

NAME = "facestudio"
AT_ONCE = 8  # calls that a replica takes; it draws one batch at a time


class Replica:
    """What runs in each of Ray's processes."""

    def __init__(self, model: str, threads: int | None, most_px: int) -> None:
        load = partial(Painter.load, model, threads, remember=False, most_px=most_px)
        self._engine = LocalEngine(load)
        self._starting = asyncio.Lock()
        self._facts: ModelCard | None = None

    async def describe(self) -> ModelCard:
        """What the model is, once it is loaded."""
        async with self._starting:
            if self._facts is None:
                self._facts = await self._engine.start()
        return self._facts

    async def draw(self, works: Sequence[Work]) -> AsyncIterator[Event]:
        """As `Engine.draw`."""
        await self.describe()
        async for event in self._engine.draw(works):
            yield event

    async def find_faces(self, data: bytes, name: str) -> tuple[tuple[int, int], list[Face]]:
        """As `Engine.find_faces`."""
        await self.describe()
        return await self._engine.find_faces(data, name)

    async def make_profile(self, photos: Mapping[str, bytes], largest: bool) -> Profile:
        """As `Engine.make_profile`."""
        await self.describe()
        return await self._engine.make_profile(photos, largest)


class RayEngine:
    """Draws on replicas; as many batches at the same time as there are replicas."""

    def __init__(self, settings: ServerSettings) -> None:
        self._ray, self._serve = _import_ray()
        self._settings = settings
        self.lanes = settings.replicas
        self._handle: Any = None
        self._started_here = False

    async def start(self) -> ModelCard:
        """Start the replicas and tell what their model is. Raises ModelError."""
        self._handle = await asyncio.to_thread(self._deploy)
        async with self._telling_whose_fault():
            facts: ModelCard = await self._handle.describe.remote()
        return facts

    async def draw(self, works: Sequence[Work]) -> AsyncGenerator[Event, None]:
        """As `Engine.draw`. Raises EngineLost where the replica dies."""
        events = self._handle.options(stream=True).draw.remote(list(works))
        try:
            async with self._telling_whose_fault():
                async for event in events:
                    yield event
        finally:
            events.cancel()

    async def find_faces(self, data: bytes, name: str) -> tuple[tuple[int, int], list[Face]]:
        """As `Engine.find_faces`."""
        found: tuple[tuple[int, int], list[Face]] = await self._ask("find_faces", data, name)
        return found

    async def make_profile(self, photos: Mapping[str, bytes], largest: bool) -> Profile:
        """As `Engine.make_profile`."""
        person: Profile = await self._ask("make_profile", dict(photos), largest)
        return person

    async def forget(self) -> None:
        """Nothing to do: replicas keep nobody."""

    async def stop(self) -> None:
        """Stop the replicas, and the cluster if it was started here."""
        await asyncio.to_thread(self._serve.delete, NAME)
        if self._started_here:
            await asyncio.to_thread(self._serve.shutdown)
            await asyncio.to_thread(self._ray.shutdown)

    async def _ask(self, method: str, *given: Any) -> Any:
        """What a replica answers; another one is asked once where it dies."""
        for last in (False, True):
            try:
                async with self._telling_whose_fault():
                    return await getattr(self._handle, method).remote(*given)
            except EngineLost:
                if last:
                    break
        raise ServerFault("what was to look at the picture was lost", hint="try again")

    def _deploy(self) -> Any:
        if not self._ray.is_initialized():
            address = self._settings.ray_address
            options: dict[str, Any] = {"log_to_driver": False, "include_dashboard": False}
            if address is None:  # a replica asks for a core; on one's own machine they may share
                options["num_cpus"] = max(self._settings.replicas, os.cpu_count() or 1)
            self._ray.init(address=address, **options)
            self._started_here = address is None
        self._serve.start(proxy_location="Disabled")
        deployment = self._serve.deployment(Replica).options(
            num_replicas=self._settings.replicas, max_ongoing_requests=AT_ONCE
        )
        settings = self._settings
        bound = deployment.bind(settings.model, settings.threads, settings.max_side_px)
        return self._serve.run(bound, name=NAME, route_prefix=None)

    @asynccontextmanager
    async def _telling_whose_fault(self) -> AsyncIterator[None]:
        """Ray's errors as ours: those of the code inside, and EngineLost for a replica's death."""
        errors = self._ray.exceptions
        try:
            yield
        except errors.RayTaskError as problem:
            if isinstance(problem.cause, FaceStudioError):
                raise problem.cause from None
            raise
        except (errors.RayActorError, errors.ActorUnavailableError) as problem:
            raise EngineLost(type(problem).__name__) from problem


def _import_ray() -> tuple[Any, Any]:
    try:
        return import_module("ray"), import_module("ray.serve")
    except ImportError as problem:
        raise MissingWeights(
            f"engine ray needs the package {problem.name}", hint="pip install 'facestudio[ray]'"
        ) from problem
