"""Who does the jobs of `prepare`: this process, several on this machine, or Ray's workers.

All write the same bytes. An engine starts with the first job it is given.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Literal, Protocol

from facestudio.data.develop import Developer, DeveloperSettings
from facestudio.data.jobs import Job, do_job
from facestudio.errors import OutOfMemory

EngineName = Literal["local", "ray"]


class Engine(Protocol):
    """Does jobs in any order."""

    def encoder_id(self) -> str | None:
        """Return `name@version` of the identity encoder its workers have loaded."""

    def run(self, jobs: Sequence[Job], out: Path) -> Iterator[str]:
        """Write the jobs' shards to `out`; yield each one's name as it is done."""

    def close(self) -> None:
        """Let all workers go; jobs that were not done are not started."""


def start_engine(
    engine: EngineName, develop: DeveloperSettings, processes: int, threads: int
) -> Engine:
    """Return the engine of that name. Raises MissingWeights where Ray is not installed."""
    if engine == "ray":
        from facestudio.data.ray_engine import RayWorkers

        return RayWorkers(develop, threads)
    if processes > 1:
        return LocalProcesses(develop, processes, threads)
    return ThisProcess(develop)


class ThisProcess:
    """Does one job after another, here."""

    def __init__(self, develop: DeveloperSettings) -> None:
        self.developer = Developer(develop)

    def encoder_id(self) -> str | None:
        return self.developer.encoder_id

    def run(self, jobs: Sequence[Job], out: Path) -> Iterator[str]:
        for job in jobs:
            yield do_job(job, out, self.developer)

    def close(self) -> None:
        """Nothing was started."""


class LocalProcesses:
    """Several processes on this machine; they end with this one, however it ends."""

    def __init__(self, develop: DeveloperSettings, processes: int, threads: int) -> None:
        self.pool = ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_worker,
            initargs=(develop, threads),
        )

    def encoder_id(self) -> str | None:
        return self.pool.submit(_encoder_id).result()

    def run(self, jobs: Sequence[Job], out: Path) -> Iterator[str]:
        futures = [self.pool.submit(_work, job, out) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as problem:
            raise OutOfMemory(
                "a worker was ended from outside, perhaps for want of memory",
                hint="run again with fewer processes; finished shards are kept",
            ) from problem

    def close(self) -> None:
        self.pool.shutdown(cancel_futures=True)


_developer: Developer | None = None  # one a worker process, made once by `_start_worker`


def _start_worker(settings: DeveloperSettings, threads: int) -> None:
    global _developer
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _developer = Developer(settings)


def _end_with_parent() -> None:
    """Wait for the parent's end, even by SIGKILL, and end this process."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _encoder_id() -> str | None:
    assert _developer is not None
    return _developer.encoder_id


def _work(job: Job, out: Path) -> str:
    assert _developer is not None
    return do_job(job, out, _developer)
