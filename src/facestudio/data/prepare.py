"""From pictures to a prepared set: `facestudio prepare`.

Sources are read part by part (a tar, a stretch of a folder); each part becomes one shard. Several
processes or machines work on parts at once (`engines.py`). A run that was stopped goes on with the
parts whose shard is missing, so that nothing is lost or written twice; what was left out, and why,
is in `report.json`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facestudio.data.develop import DeveloperSettings
from facestudio.data.engines import EngineName, start_engine
from facestudio.data.jobs import Eyes, Job, SourceSettings
from facestudio.data.shards import shard_names, write_json
from facestudio.data.sources import open_source
from facestudio.errors import BadOption
from facestudio.settings import from_dict, to_dict

__all__ = [
    "Eyes",
    "LeftOut",
    "PrepareReport",
    "PrepareSettings",
    "SourceSettings",
    "plan",
    "prepare",
]


@dataclass(frozen=True)
class PrepareSettings:
    """What `facestudio prepare` makes; read from a TOML file."""

    out: Path
    sources: tuple[SourceSettings, ...]
    develop: DeveloperSettings
    engine: EngineName = "local"  # or "ray": the workers of a cluster
    processes: int = 1  # of the local engine; Ray takes as many as its machines have cores for
    threads: int = 1  # torch threads a process


@dataclass(frozen=True)
class LeftOut:
    """A picture that is not in the set."""

    source: str
    key: str
    code: str
    message: str


@dataclass(frozen=True)
class PrepareReport:
    """What a prepared set holds."""

    samples: int
    with_person: int
    shards: int
    skipped_shards: int  # already there from an earlier run
    left_out: tuple[LeftOut, ...]

    def counts(self) -> dict[str, int]:
        """How many pictures were left out for each reason."""
        return dict(Counter(item.code for item in self.left_out))


def prepare(settings: PrepareSettings, *, progress: bool = False) -> PrepareReport:
    """Write the prepared set at `settings.out`, going on where an earlier run stopped.

    Raises BadOption if the folder holds a set made by other settings, BadModel or MissingWeights
    for parts that cannot be loaded or an engine that is not installed.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    _check_folder(settings)
    jobs = plan(settings)
    done = set(shard_names(settings.out)) | _empty_shards(settings.out)
    waiting = [job for job in jobs if job.name not in done]
    if waiting or not (settings.out / "dataset.json").is_file():
        for _ in _with_progress(_run(waiting, settings), len(waiting), progress):
            pass
    report = _summarise(settings.out, jobs, skipped=len(jobs) - len(waiting))
    write_json(settings.out / "report.json", to_dict(report) | {"counts": report.counts()})
    return report


def plan(settings: PrepareSettings) -> list[Job]:
    """Return the jobs of all sources, in an order and with names that do not change."""
    jobs = []
    for number, source in enumerate(settings.sources):
        for index, part in enumerate(open_source(source.path).parts()):
            jobs.append(Job(f"{number:03d}-{index:05d}", source, part))
    return jobs


def _run(jobs: list[Job], settings: PrepareSettings) -> Iterator[str]:
    """Do the jobs, saying first in dataset.json what makes the set."""
    engine = start_engine(settings.engine, settings.develop, settings.processes, settings.threads)
    with closing(engine):
        if not (settings.out / "dataset.json").is_file():
            described = {
                "format": 1,
                "encoder": engine.encoder_id(),
                "settings": to_dict(_what_counts(settings)),
            }
            write_json(settings.out / "dataset.json", described)
        yield from engine.run(jobs, settings.out)


def _what_counts(settings: PrepareSettings) -> PrepareSettings:
    """Return the settings without those that do not change what is written."""
    return replace(settings, engine="local", processes=1, threads=1)


def _check_folder(settings: PrepareSettings) -> None:
    """Raise BadOption if the folder holds a set that was made by other settings."""
    path = settings.out / "dataset.json"
    if not path.is_file():
        return
    found = from_dict(PrepareSettings, json.loads(path.read_text())["settings"])
    if _what_counts(found) != _what_counts(settings):
        raise BadOption(
            f"{settings.out} holds a set made by other settings; choose another folder", file=path
        )


def _empty_shards(folder: Path) -> set[str]:
    """Return the names of parts that were worked on and gave no sample at all."""
    return {p.stem for p in folder.glob("*.left_out") if p.with_suffix(".json").is_file()}


def _summarise(out: Path, jobs: list[Job], skipped: int) -> PrepareReport:
    left_out, samples, people, shards = [], 0, 0, 0
    for job in jobs:
        records = json.loads((out / f"{job.name}.json").read_text())
        samples += len(records)
        people += sum(bool(record["has_face"]) for record in records)
        shards += bool(records)
        for item in json.loads((out / f"{job.name}.left_out").read_text()):
            left_out.append(LeftOut(source=str(job.source.path), **item))
    return PrepareReport(samples, people, shards, skipped, tuple(left_out))


def _with_progress(done: Iterator[str], total: int, progress: bool) -> Iterator[Any]:
    if not progress:
        return done
    from rich.progress import track

    return iter(track(done, description="preparing", total=total))
