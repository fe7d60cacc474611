"""One part of a source to one shard: the unit of work that any process, on any machine, can do."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from facestudio.data.develop import Developer
from facestudio.data.shards import Sample, write_json, write_shard
from facestudio.data.sources import Part, RawSample
from facestudio.errors import PictureError

Eyes = tuple[tuple[float, float], tuple[float, float]]


@dataclass(frozen=True)
class SourceSettings:
    """One source of pictures and how to look at it."""

    path: Path  # a folder, FFHQ's layout, tar(s), or a Hugging Face dataset on disk
    name: str = "pictures"  # of samples that do not say their source themselves; weights go by it
    eyes: Eyes | None = None  # of aligned sets: the eyes as fractions of the picture; none: detect
    reframe: bool = False  # bring the face into the portrait layout (for tighter or looser crops)
    people: bool = True  # false: nobody is looked for; the identity is zero
    drawn: float = 0.0  # share of its photos that also get a look drawn by image processing


@dataclass(frozen=True)
class Job:
    """One part of one source, to become one shard called `name`."""

    name: str
    source: SourceSettings
    part: Part


def do_job(job: Job, out: Path, developer: Developer) -> str:
    """Develop all pictures of a part and write its shard; return the shard's name.

    What was left out is in NAME.left_out, written first. Doing a job twice writes the same bytes.
    """
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
        raw.record.setdefault("source", source.name)
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
