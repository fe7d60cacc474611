"""Ray's workers do the jobs of `prepare`, on one machine or many (https://docs.ray.io).

A shard is a task. A worker that dies, or its machine, costs the shard it was at, which another
begins anew. Sources, models and `out` must be at the same path on all machines (a shared disk).
`ray.init` joins the cluster that RAY_ADDRESS names, or starts one on this machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

from facestudio.data.develop import Developer, DeveloperSettings
from facestudio.data.jobs import Job, do_job
from facestudio.errors import MissingWeights, OutOfMemory

RETRIES = 5  # of one shard, each after a dead worker


class RayWorkers:
    """Does jobs as tasks of `threads` cores each, spread over the cluster's machines."""

    def __init__(self, develop: DeveloperSettings, threads: int) -> None:
        self.ray = _import_ray()
        self.develop, self.threads = develop, threads
        self.started_here = not self.ray.is_initialized()
        if self.started_here:
            self.ray.init(log_to_driver=False, include_dashboard=False)
        self.options = {
            "num_cpus": threads,
            "max_retries": RETRIES,
            "scheduling_strategy": "SPREAD",
        }
        self.pending: list[Any] = []

    def encoder_id(self) -> str | None:
        ask = self.ray.remote(_encoder_id).options(**self.options)
        name: str | None = self._result(ask.remote(Path.cwd(), self.develop, self.threads))
        return name

    def run(self, jobs: Sequence[Job], out: Path) -> Iterator[str]:
        work = self.ray.remote(_work).options(**self.options)
        shared = self.ray.put(self.develop)
        here = Path.cwd()
        self.pending = [work.remote(job, here, out, shared, self.threads) for job in jobs]
        while self.pending:
            (done,), self.pending = self.ray.wait(self.pending, num_returns=1)
            yield self._result(done)

    def close(self) -> None:
        for task in self.pending:
            self.ray.cancel(task, force=True)
        if self.started_here:
            self.ray.shutdown()

    def _result(self, task: Any) -> Any:
        """Return what a task returned, or raise what it raised."""
        try:
            return self.ray.get(task)
        except self.ray.exceptions.RayTaskError as problem:
            raise problem.cause from None
        except self.ray.exceptions.WorkerCrashedError as problem:
            raise OutOfMemory(
                f"a shard's worker died {RETRIES + 1} times, perhaps for want of memory",
                hint="run again with larger machines; finished shards are kept",
            ) from problem


def _import_ray() -> Any:
    try:
        return import_module("ray")
    except ImportError as problem:
        raise MissingWeights(
            "engine ray needs the package ray", hint="pip install 'facestudio[ray]'"
        ) from problem


@lru_cache(maxsize=1)
def _developer_of(here: Path, settings: DeveloperSettings, threads: int) -> Developer:
    """Return this worker's developer: its models are loaded once, not for every shard.

    The worker works where the command was given, so that relative paths mean the same.
    """
    import torch

    os.chdir(here)
    torch.set_num_threads(threads)
    return Developer(settings)


def _encoder_id(here: Path, settings: DeveloperSettings, threads: int) -> str | None:
    return _developer_of(here, settings, threads).encoder_id


def _work(job: Job, here: Path, out: Path, settings: DeveloperSettings, threads: int) -> str:
    developer = _developer_of(here, settings, threads)
    return do_job(job, out, developer)
