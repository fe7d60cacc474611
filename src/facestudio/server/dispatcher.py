"""The queue: jobs wait in order, go to the engine in batches of one shape, and end in the store.

Everything here runs in the event loop. A ticket is what memory knows of an unfinished job; all
else is in the store, so that a kill loses nothing that was accepted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import aclosing, suppress

from facestudio.errors import (
    Busy,
    Cancelled,
    DeadlinePassed,
    FaceStudioError,
    ServerFault,
    Withheld,
)
from facestudio.images import write_picture
from facestudio.server.faults import log_fault
from facestudio.server.jobs import MAX_ATTEMPTS, Job, JobStore, Status
from facestudio.server.metrics import Metrics
from facestudio.server.people import People
from facestudio.server.schemas import Generate, Progress
from facestudio.server.settings import ServerSettings
from facestudio.server.tickets import Ticket, choose_batch
from facestudio.server.work import (
    Drawn,
    Engine,
    EngineLost,
    Event,
    Failed,
    Step,
    Work,
    names_in,
)

logger = logging.getLogger("facestudio.server")
CLEANING_S = 600.0
FIRST_GUESS_S = 2.0
TELL_EVERY_S = 0.2
GATHERINGS = 20  # times batch_wait_ms, for as many jobs as were drawn together last
EXPLICIT = "a content checker calls what was drawn explicit"


class Dispatcher:
    """Accepts jobs, has them drawn, and tells how far they are."""

    def __init__(
        self,
        store: JobStore,
        engine: Engine,
        people: People,
        settings: ServerSettings,
        metrics: Metrics,
    ) -> None:
        self._store, self._engine, self._people = store, engine, people
        self._settings, self._metrics = settings, metrics
        self._tickets: dict[str, Ticket] = {}  # in the order of their arrival
        self._arrival = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._seconds_a_job = FIRST_GUESS_S
        self._last_batch = 1

    def start(self) -> None:
        """Take up what is left from before, and begin to draw."""
        for job in self._store.recover():
            self._add(job)
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._engine.lanes)]
        self._tasks.append(asyncio.create_task(self._clean()))

    async def stop(self) -> None:
        """Break off; what is unfinished waits in the store for the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for ticket in self._tickets.values():
            if ticket.timer is not None:
                ticket.timer.cancel()
            self._store.put_back(ticket.job.id)

    @property
    def waiting(self) -> list[Ticket]:
        """The jobs that wait, the oldest first."""
        return [ticket for ticket in self._tickets.values() if not ticket.drawing]

    def check_room(self) -> None:
        """Raise Busy if the queue is full."""
        waiting = len(self.waiting)
        if waiting >= self._settings.max_queue:
            seconds = math.ceil(self._seconds_a_job * min(waiting, self._settings.max_batch))
            raise Busy(
                f"{waiting} jobs wait already; that is the most",
                retry_after_s=max(1, min(seconds, 60)),
                hint="ask again after the seconds in Retry-After",
            )

    def accept(self, job: Job, sent: Sequence[bytes]) -> None:
        """Keep the job and put it into the queue. Raises Busy."""
        self.check_room()
        self._store.add(job, sent)
        self._add(job)

    def progress(self, job: Job) -> Progress:
        """How far the job is."""
        ticket = self._tickets.get(job.id)
        if ticket is None or job.is_finished:
            return Progress(status=job.status)
        if ticket.drawing:
            return Progress(status="running", step=ticket.step, steps=ticket.steps)
        return Progress(status="queued", position=self.waiting.index(ticket) + 1)

    def cancel(self, job: Job) -> None:
        """End the job now; its place in the queue is free."""
        self._end(job.id, Cancelled("cancelled by whoever asked for it"), "cancelled")

    def delete(self, job: Job) -> None:
        """End the job and remove everything of it."""
        self.cancel(job)
        self._store.delete(job.id)

    async def watch(self, job: Job) -> AsyncIterator[Job]:
        """The job now, after changes at most every TELL_EVERY_S, and at once when it has ended."""
        while True:
            ticket = self._tickets.get(job.id)
            changed = None if ticket is None else ticket.changed
            job = self._store.get(job.id, job.owner)
            yield job
            if ticket is None or changed is None or job.is_finished:
                return
            await changed.wait()
            if job.id in self._tickets:  # steps follow each other faster than anyone reads
                with suppress(TimeoutError):
                    await asyncio.wait_for(ticket.ended.wait(), TELL_EVERY_S)

    async def finished(self, job: Job) -> Job:
        """The job once it has ended. Raises NotFound if it is deleted before."""
        if (ticket := self._tickets.get(job.id)) is not None:
            await ticket.ended.wait()
        return self._store.get(job.id, job.owner)

    def _add(self, job: Job) -> None:
        ticket = Ticket(job)
        self._tickets[job.id] = ticket
        delay = max(job.deadline - time.time(), 0)
        ticket.timer = asyncio.get_running_loop().call_later(delay, self._expire, job.id)
        self._count()
        self._arrival.set()

    def _expire(self, job_id: str) -> None:
        hint = "give it a larger timeout_s, or ask for less"
        self._end(job_id, DeadlinePassed("not ready before its deadline", hint=hint))

    def _end(self, job_id: str, error: FaceStudioError, status: Status = "failed") -> None:
        if self._store.fail(job_id, error, status):
            self._metrics.jobs.labels(status, error.code).inc()
        self._drop(job_id)

    def _drop(self, job_id: str) -> None:
        ticket = self._tickets.pop(job_id, None)
        if ticket is None:
            return
        if ticket.timer is not None:
            ticket.timer.cancel()
        ticket.ended.set()
        ticket.tell()
        for other in self.waiting:
            other.tell()
        self._count()

    def _count(self) -> None:
        waiting = len(self.waiting)
        self._metrics.waiting.set(waiting)
        self._metrics.running.set(len(self._tickets) - waiting)

    async def _work(self) -> None:
        """One lane: batch after batch, for ever."""
        while True:
            batch = await self._next_batch()
            try:
                await self._draw(batch)
            except Exception as problem:  # a lane must not die of one batch
                log_fault("a batch failed", problem)
                fault = ServerFault(f"the server met a {type(problem).__name__}")
                for ticket in batch:
                    self._end(ticket.job.id, fault)

    async def _next_batch(self) -> list[Ticket]:
        """The oldest job that waits, and others of its shape; waits a little for them to come."""
        while True:
            if self.waiting:
                await self._gather()
                if self.waiting:
                    break
            self._arrival.clear()
            await self._arrival.wait()
        batch = choose_batch(self.waiting, self._settings.max_batch)
        self._last_batch = len(batch)
        for ticket in batch:
            ticket.drawing = True
            self._store.start(ticket.job.id)
            ticket.tell()
        self._count()
        return batch

    async def _gather(self) -> None:
        """Wait a little for others; longer, but for as many jobs only, after a batch of several.

        Callers who got their pictures together ask again together; whoever comes alone is not
        kept waiting for them.
        """
        patience = self._settings.batch_wait_ms / 1000
        if self._last_batch > 1:
            patience *= GATHERINGS
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while not self._are_enough(self.waiting):
                    self._arrival.clear()
                    await self._arrival.wait()

    def _are_enough(self, waiting: Sequence[Ticket]) -> bool:
        full = sum(ticket.job.count for ticket in waiting) >= self._settings.max_batch
        return full or len(waiting) >= self._last_batch > 1

    async def _draw(self, batch: Sequence[Ticket]) -> None:
        tickets = {ticket.job.id: ticket for ticket in batch}
        works = [work for ticket in batch if (work := self._to_work(ticket.job)) is not None]
        if not works:
            return
        started = time.perf_counter()
        self._metrics.batch.observe(len(works))
        try:
            async with aclosing(self._engine.draw(works)) as events:
                async for event in events:
                    await self._take(event, tickets)
                    if not any(work.job_id in self._tickets for work in works):
                        break
        except EngineLost as lost:
            logger.warning("an engine was lost: %s", lost)
            self._draw_again(tickets.values())
        seconds = (time.perf_counter() - started) / len(works)
        self._seconds_a_job += 0.2 * (seconds - self._seconds_a_job)

    def _to_work(self, job: Job) -> Work | None:
        """What the engine takes; None where the job has ended, or ends here for want of someone."""
        if job.id not in self._tickets:
            return None
        asked = Generate.model_validate_json(json.dumps(job.asked))
        try:
            saved = self._people.load(job.owner, names_in(asked))
            return Work(job.id, asked, self._store.read_sent(job), saved)
        except FaceStudioError as error:
            self._end(job.id, error)
        except OSError:
            self._end(job.id, ServerFault("what was sent is gone from the disk"))
        return None

    async def _take(self, event: Event, tickets: dict[str, Ticket]) -> None:
        if isinstance(event, Step):
            for ticket in tickets.values():
                ticket.step, ticket.steps = event.step, event.steps
                ticket.tell()
        elif isinstance(event, Failed):
            self._end(event.job_id, event.error)
        elif event.job_id in self._tickets:
            await self._keep(event, tickets[event.job_id].job)

    async def _keep(self, drawn: Drawn, job: Job) -> None:
        """Write the pictures, then the row that says that they are there.

        Those that are withheld are told in words and kept nowhere.
        """
        if all(drawn.withheld):
            self._end(job.id, Withheld(EXPLICIT, hint="try other words, another style or seed"))
            return
        try:
            await asyncio.to_thread(self._write, drawn)
        except FaceStudioError as error:
            self._end(job.id, error)
            return
        told = zip(drawn.seeds, drawn.likeness, drawn.withheld, strict=True)
        pictures = [
            {"seed": seed, "likeness": likeness, "withheld": "explicit" if withheld else None}
            for seed, likeness, withheld in told
        ]
        if self._store.finish(job.id, {"pictures": pictures, "settings": drawn.settings}):
            self._metrics.jobs.labels("done", "").inc()
            self._metrics.pictures.inc(drawn.withheld.count(False))
            self._metrics.job_seconds.observe(time.time() - job.created)
        self._drop(job.id)

    def _write(self, drawn: Drawn) -> None:
        told = zip(drawn.pictures, drawn.seeds, drawn.withheld, strict=True)
        for number, (picture, seed, withheld) in enumerate(told):
            if withheld:
                continue
            alone = {**drawn.settings, "seed": seed, "num_images_per_prompt": 1}
            write_picture(picture, self._store.drawn(drawn.job_id, number), alone)

    def _draw_again(self, tickets: Iterable[Ticket]) -> None:
        """Jobs of a lost engine wait again, in their old places, unless they were often begun."""
        for ticket in tickets:
            job = ticket.job
            if job.id not in self._tickets:
                continue
            if self._store.get(job.id, job.owner).attempts >= MAX_ATTEMPTS:
                self._end(job.id, ServerFault(f"what drew it was lost {MAX_ATTEMPTS} times"))
                continue
            ticket.drawing, ticket.step = False, 0
            ticket.tell()
        self._count()
        self._arrival.set()

    async def _clean(self) -> None:
        """Remove finished jobs that are kept long enough, every few minutes."""
        while True:
            kept_since = time.time() - self._settings.keep_hours * 3600
            old = self._store.finished_before(kept_since)
            for job_id in old:
                self._store.delete(job_id)
            if old:
                await self._engine.forget()
            await asyncio.sleep(CLEANING_S)
