"""What memory knows of unfinished jobs, and which of them are drawn together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from facestudio.server.jobs import Job

SIZES = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64)  # pictures of a batch


@dataclass(eq=False)
class Ticket:
    """An unfinished job in memory."""

    job: Job
    timer: asyncio.TimerHandle | None = None
    drawing: bool = False
    step: int = 0
    steps: int | None = None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def tell(self) -> None:
        """Wake whoever watches."""
        self.changed.set()
        self.changed = asyncio.Event()


def choose_batch(waiting: Sequence[Ticket], most: int) -> list[Ticket]:
    """The oldest job, and as many others of its shape as there is room for pictures.

    Of few sizes only: for each size the processor's library makes kernels and keeps them (about
    20 MB for mini). What is left over comes first in the next batch.
    """
    batch, pictures = [waiting[0]], waiting[0].job.count
    if waiting[0].job.shape is None:
        return batch
    for ticket in waiting[1:]:
        fits = pictures + ticket.job.count <= most
        if ticket.job.shape == waiting[0].job.shape and fits:
            batch.append(ticket)
            pictures += ticket.job.count
    while len(batch) > 1 and pictures not in (most, *SIZES):
        pictures -= batch.pop().job.count
    return batch
