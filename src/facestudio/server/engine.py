"""The local engine: a painter in this process, one batch after the other in a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from facestudio.errors import NotReady
from facestudio.faces.detect import Face
from facestudio.identities.profile import Profile
from facestudio.server.faults import as_fault
from facestudio.server.painter import Painter
from facestudio.server.work import Event, Failed, ModelCard, Step, Work


class Stopped(Exception):
    """Nobody wants what is being drawn."""


class LocalEngine:
    """Draws in this process: jobs in one thread, questions about faces in another."""

    lanes = 1

    def __init__(self, load: Callable[[], Painter]) -> None:
        self._load = load
        self._painter: Painter | None = None
        self._drawing = ThreadPoolExecutor(1, "draw")
        self._looking = ThreadPoolExecutor(1, "look")

    async def start(self) -> ModelCard:
        """Load the model and tell what it is. Raises ModelError."""
        loop = asyncio.get_running_loop()
        self._painter = await loop.run_in_executor(self._drawing, self._load)
        return self._painter.describe()

    async def draw(self, works: Sequence[Work]) -> AsyncGenerator[Event, None]:
        """The events of jobs of one shape; closing it stops the drawing after the step."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event | None] = asyncio.Queue()
        stopped = threading.Event()

        def tell(event: Event | None) -> None:
            loop.call_soon_threadsafe(events.put_nowait, event)

        drawing = loop.run_in_executor(self._drawing, self._paint, works, tell, stopped)
        try:
            while (event := await events.get()) is not None:
                yield event
        finally:
            stopped.set()
            await asyncio.shield(drawing)

    async def find_faces(self, data: bytes, name: str) -> tuple[tuple[int, int], list[Face]]:
        """Width and height of a picture, and the faces in it. Raises PictureError."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._looking, self.painter.find_faces, data, name)

    async def make_profile(self, photos: Mapping[str, bytes], largest: bool) -> Profile:
        """The person in these photos, to be saved. Raises PictureError."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._looking, self.painter.make_profile, photos, largest)

    async def forget(self) -> None:
        """Drop what is kept in memory of the faces that were sent."""
        if self._painter is not None:
            self._painter.forget()

    async def stop(self) -> None:
        """Let go of the model; what is being drawn is broken off before."""
        for pool in (self._drawing, self._looking):
            pool.shutdown(wait=False, cancel_futures=True)
        self._painter = None

    @property
    def painter(self) -> Painter:
        """What draws. Raises NotReady before `start`."""
        if self._painter is None:
            raise NotReady("the model is not loaded yet", hint="ask /ready first")
        return self._painter

    def _paint(
        self,
        works: Sequence[Work],
        tell: Callable[[Event | None], None],
        stopped: threading.Event,
    ) -> None:
        """Runs in the thread; ends with None whatever happens."""

        def on_step(step: int, steps: int) -> None:
            if stopped.is_set():
                raise Stopped
            tell(Step(step, steps))

        try:
            for event in self.painter.paint(works, on_step):
                tell(event)
        except Stopped:
            pass
        except Exception as problem:
            fault = as_fault(problem)
            for work in works:
                tell(Failed(work.job_id, fault))
        finally:
            tell(None)
