"""Pictures drawn one after the other, with progress, previews and a stop that works at once.

The model draws in a thread of its own and one drawing at a time; whoever watches gets events and
may turn away at any moment.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from facestudio.images import write_picture

if TYPE_CHECKING:
    from PIL import Image

    from facestudio.pipeline.output import FaceStudioOutput
    from facestudio.pipeline.pipeline import FaceStudioPipeline

PREVIEW_SHARE = 0.2  # of the time at most that goes into previews
SHOWN_EVERY_S = 0.15


@dataclass(frozen=True)
class Plan:
    """One picture to draw: who, the pipeline's own keywords, the seed, and its name on the page."""

    people: Any
    options: dict[str, Any]
    seed: int
    title: str = ""


@dataclass(frozen=True)
class Variant:
    """A finished picture with its plan, one likeness a person, and its PNG, settings inside.

    withheld: whether a content checker called it explicit; it is grey then.
    """

    plan: Plan
    image: Image.Image
    likeness: list[float | None]
    png: bytes
    withheld: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a drawing is: `number` of `total` pictures at `share` of its steps.

    preview is the picture as it stands, where there is one to show. `waiting`: for the drawing of
    someone else.
    """

    number: int
    total: int
    share: float
    preview: Image.Image | None = None
    waiting: bool = False


Event = Progress | Variant


class _Stopped(Exception):
    """The one who asked for the drawing has turned away."""


class Studio:
    """A model that draws for everyone who has the page open, one drawing at a time."""

    def __init__(self, pipe: FaceStudioPipeline) -> None:
        self.pipe = pipe
        self._turn = threading.Lock()

    def start(self, plans: Sequence[Plan]) -> Drawing:
        """A drawing of these pictures, begun."""
        return Drawing(self.pipe, plans, self._turn)


class Drawing:
    """A running drawing; iterate it once for its events. Raises what the pipeline raises.

    Leaving the iteration early stops the drawing at its next step.
    """

    def __init__(
        self, pipe: FaceStudioPipeline, plans: Sequence[Plan], turn: threading.Lock
    ) -> None:
        self.plans = list(plans)
        self._pipe = pipe
        self._turn = turn
        self._events: queue.Queue[Event | Exception | None] = queue.Queue()
        self._stop = threading.Event()
        self._preview = _PreviewClock()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def cancel(self) -> None:
        """End the iteration now; the model stops at its next step."""
        self._stop.set()
        self._events.put(None)

    @property
    def cancelled(self) -> bool:
        """Whether it was told to stop."""
        return self._stop.is_set()

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until the model has left this drawing."""
        self._thread.join(timeout_s)

    def __iter__(self) -> Iterator[Event]:
        try:
            while not self._stop.is_set():
                event = self._events.get()
                if event is None:
                    return
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self._stop.set()

    def _work(self) -> None:
        try:
            self._wait_for_turn()
            try:
                for number, plan in enumerate(self.plans):
                    self._events.put(self._draw(number, plan))
            finally:
                self._turn.release()
        except _Stopped:
            pass
        except Exception as problem:
            self._events.put(problem)
        self._events.put(None)

    def _wait_for_turn(self) -> None:
        while not self._turn.acquire(timeout=SHOWN_EVERY_S):
            self._raise_if_stopped()
            self._events.put(Progress(0, len(self.plans), 0.0, waiting=True))

    def _draw(self, number: int, plan: Plan) -> Variant:
        self._raise_if_stopped()
        self._events.put(Progress(number, len(self.plans), 0.0))
        output = self._pipe(
            plan.people,
            **plan.options,
            seed=plan.seed,
            callback_on_step_end=self._step_callback(number, plan),
        )
        return _finish(plan, output)

    def _step_callback(self, number: int, plan: Plan) -> Any:
        steps = plan.options.get("num_inference_steps") or self._pipe.limits.num_inference_steps

        def on_step_end(pipe: Any, step: int, timestep: Any, kwargs: dict[str, Any]) -> None:
            self._raise_if_stopped()
            if self._preview.is_due():
                preview = self._preview.measure(pipe, kwargs["latents"])
                share = min((step + 1) / steps, 1.0)
                self._events.put(Progress(number, len(self.plans), share, preview))

        return on_step_end

    def _raise_if_stopped(self) -> None:
        if self._stop.is_set():
            raise _Stopped


class _PreviewClock:
    """Says when a preview is worth its time: as often as `SHOWN_EVERY_S`, rarer where slow."""

    def __init__(self) -> None:
        self._next = 0.0

    def is_due(self) -> bool:
        return time.perf_counter() >= self._next

    def measure(self, pipe: FaceStudioPipeline, latents: Any) -> Image.Image | None:
        """The picture that latents (1, C, h, w) hold as they stand; None if it is explicit."""
        from facestudio.pipeline.scene import to_pictures

        started = time.perf_counter()
        picture = to_pictures(pipe.codec.decode(latents[:1]))[0]
        checker = pipe.content_checker
        explicit = checker is not None and checker.is_explicit(picture)
        ended = time.perf_counter()
        self._next = ended + max(SHOWN_EVERY_S, (ended - started) / PREVIEW_SHARE)
        return None if explicit else picture


def _finish(plan: Plan, output: FaceStudioOutput) -> Variant:
    image = output.images[0]
    with TemporaryDirectory(prefix="facestudio-") as folder:
        path = Path(folder) / "portrait.png"
        write_picture(image, path, output.settings)
        png = path.read_bytes()
    return Variant(plan, image, output.likeness[0], png, withheld=any(output.withheld))
