"""From pictures to a prepared set: `facestudio prepare`.

Sources are read part by part (a tar, a stretch of a folder); each part becomes one shard. Several
processes work on parts at once. A run that was stopped goes on with the parts whose shard is
missing, so that nothing is lost or written twice; what was left out, and why, is in `report.json`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from facestudio.data.develop import Developer, DeveloperSettings
from facestudio.data.shards import Sample, shard_names, write_json, write_shard
from facestudio.data.sources import Part, RawSample, open_source
from facestudio.errors import BadOption, PictureError
from facestudio.faces.embed import encoder_id
from facestudio.faces.load import load_identity_encoder
from facestudio.settings import to_dict

Eyes = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class SourceSettings:
    """One source of pictures and how to look at it."""

    path: Path  # a folder, FFHQ's layout, tar(s), or a Hugging Face dataset on disk
    eyes: Eyes | None = None  # of aligned sets: the eyes as fractions of the picture; none: detect
    reframe: bool = False  # bring the face into the portrait layout (for tighter or looser crops)
    people: bool = True  # false: nobody is looked for; the identity is zero
    drawn: float = 0.0  # share of its photos that also get a look drawn by image processing


@dataclass(frozen=True)
class PrepareSettings:
    """What `facestudio prepare` makes; read from a TOML file."""

    out: Path
    sources: tuple[SourceSettings, ...]
    develop: DeveloperSettings
    processes: int = 1
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


@dataclass(frozen=True)
class Job:
    """One part of one source, to become one shard called `name`."""

    name: str
    source: SourceSettings
    part: Part


def prepare(settings: PrepareSettings, *, progress: bool = False) -> PrepareReport:
    """Write the prepared set at `settings.out`, going on where an earlier run stopped.

    Raises BadOption if the folder holds a set made by other settings, BadModel or MissingWeights
    for parts that cannot be loaded.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    _claim_folder(settings)
    jobs = plan(settings)
    done = set(shard_names(settings.out)) | _empty_shards(settings.out)
    waiting = [job for job in jobs if job.name not in done]
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
    if settings.processes <= 1:
        developer = Developer(settings.develop)
        for job in jobs:
            yield _write_part(job, settings.out, developer)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(
        settings.processes,
        mp_context=context,
        initializer=_start_worker,
        initargs=(settings.develop, settings.threads),
    ) as pool:
        futures = [pool.submit(_work, job, settings.out) for job in jobs]
        for future in as_completed(futures):
            yield future.result()


_developer: Developer | None = None  # one a worker process, made once by `_start_worker`


def _start_worker(settings: DeveloperSettings, threads: int) -> None:
    global _developer
    import torch

    torch.set_num_threads(threads)
    _developer = Developer(settings)


def _work(job: Job, out: Path) -> str:
    assert _developer is not None
    return _write_part(job, out, _developer)


def _write_part(job: Job, out: Path, developer: Developer) -> str:
    """Develop all pictures of a part and write its shard; return the shard's name."""
    left_out: list[dict[str, str]] = []
    samples: list[Sample] = []
    pending: list[RawSample] = []

    def flush() -> None:
        samples.extend(_develop(pending, job.source, developer, left_out))
        pending.clear()

    for item in job.part:
        if isinstance(item, RawSample):
            pending.append(item)
        else:
            left_out.append({"key": item.where, "code": "bad_sample", "message": item.message})
        if len(pending) == developer.settings.batch:
            flush()
    flush()
    write_json(out / f"{job.name}.left_out", left_out)
    write_shard(out, job.name, samples)
    return job.name


def _develop(
    batch: list[RawSample],
    source: SourceSettings,
    developer: Developer,
    left_out: list[dict[str, str]],
) -> list[Sample]:
    negatives = []
    for raw in batch:
        try:
            negatives.append(
                developer.read(raw, eyes=source.eyes, reframe=source.reframe, people=source.people)
            )
        except PictureError as problem:
            left_out.append({"key": raw.key, "code": problem.code, "message": str(problem)})
    drawn = [
        developer.draw(negative)
        for negative in negatives
        if negative.is_photo and _share(negative.record["key"]) < source.drawn
    ]
    return developer.finish([*negatives, *drawn])


def _share(key: str) -> float:
    """Return a number in 0…1 that depends on the key alone."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48


def _claim_folder(settings: PrepareSettings) -> None:
    """Write dataset.json, or check that the one there was made by the same settings."""
    wanted = json.loads(json.dumps(to_dict(replace(settings, processes=1, threads=1)), default=str))
    path = settings.out / "dataset.json"
    if path.is_file():
        found = json.loads(path.read_text())["settings"]
        if found != wanted:
            raise BadOption(
                f"{settings.out} holds a set made by other settings; choose another folder",
                file=path,
            )
        return
    encoder = settings.develop.identity and encoder_id(
        load_identity_encoder(settings.develop.identity)
    )
    write_json(path, {"format": 1, "encoder": encoder, "settings": wanted})


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
