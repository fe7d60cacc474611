"""Two people on one canvas: is each nearest to their own reference?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from facestudio.evaluation.judges import Judges, Vectors
from facestudio.evaluation.measures import Estimate, estimate
from facestudio.evaluation.outputs import Progress, file_name, sampling_of, seed_of
from facestudio.evaluation.people import Person
from facestudio.evaluation.settings import EvaluationSettings
from facestudio.faces.detect import Face
from facestudio.faces.identity import Identity
from facestudio.images import read_picture, write_picture
from facestudio.pipeline.pipeline import FaceStudioPipeline

HALVES = ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0))


@dataclass(frozen=True)
class PairResult:
    """Two people on one canvas.

    both: each face is nearer to its own person's reference than to the other's. each: the same
    face by face. with_faces: two faces found. reference, other_person: likeness to the own
    person's and to the other's reference photo, 0 where no face was found.
    """

    with_faces: Estimate
    both: Estimate
    each: Estimate
    reference: Estimate
    other_person: Estimate


def list_pairs(settings: EvaluationSettings, count: int) -> list[tuple[int, int]]:
    """Who stands beside whom, by their numbers: neighbours first, then neighbours but one."""
    if settings.pairs is None:
        return []
    apart = ((i, i + step) for step in range(1, count) for i in range(count - step))
    return [pair for pair, _ in zip(apart, range(settings.pairs.n_pairs), strict=False)]


def pair_path(out: Path, left: Person, right: Person) -> Path:
    """Where the picture of two people is kept."""
    return out / "outputs/pairs" / f"{file_name(left.name)}+{file_name(right.name)}.png"


def make_pairs(
    pipe: FaceStudioPipeline,
    settings: EvaluationSettings,
    people: Sequence[Person],
    identities: Mapping[str, Identity],
    on_progress: Progress | None = None,
) -> None:
    """Make what is missing of the pictures of two people, left and right."""
    pairs = list_pairs(settings, len(people))
    for done, (i, j) in enumerate(pairs):
        left, right = people[i], people[j]
        path = pair_path(settings.out, left, right)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            both = identities[left.name], identities[right.name]
            write_picture(_make_pair(pipe, settings, both, f"{left.name}+{right.name}"), path)
        if on_progress is not None:
            on_progress(done + 1, len(pairs))


def _make_pair(
    pipe: FaceStudioPipeline,
    settings: EvaluationSettings,
    identities: tuple[Identity, Identity],
    name: str,
) -> Image.Image:
    asked = settings.pairs
    assert asked is not None
    made = pipe(
        list(identities),
        asked.prompt,
        regions=HALVES,
        width=asked.width,
        height=asked.height,
        seed=seed_of(name, settings.seed),
        **sampling_of(settings),
    )
    picture: Image.Image = made.images[0]
    return picture


def judge_pairs(
    settings: EvaluationSettings, judges: Judges, people: Sequence[Person], reference: Vectors
) -> PairResult | None:
    """Who the faces in the kept pictures of two people are; None where none were asked for."""
    pairs = list_pairs(settings, len(people))
    if not pairs:
        return None
    faces = judges.embed(
        found
        for i, j in pairs
        for found in find_halves(
            read_picture(pair_path(settings.out, people[i], people[j])), judges
        )
    )
    name = judges.trusted
    own = np.array(pairs).ravel()  # left, right, left, right …
    beside = np.array(pairs)[:, ::-1].ravel()
    table = judges.scales()[name].table(faces.of(name), reference.of(name))
    rows = np.arange(len(own))
    to_own, to_other = np.nan_to_num(table[rows, own]), np.nan_to_num(table[rows, beside])
    right = np.asarray(faces.seen & (to_own > to_other))
    return PairResult(
        with_faces=estimate(np.asarray(faces.seen.reshape(-1, 2).all(1))),
        both=estimate(np.asarray(right.reshape(-1, 2).all(1))),
        each=estimate(right),
        reference=estimate(to_own),
        other_person=estimate(to_other),
    )


def find_halves(picture: Image.Image, judges: Judges) -> Iterator[tuple[Image.Image, Face | None]]:
    """The picture and the widest face whose middle lies in its left half, then in its right."""
    found = [face for face in judges.detector.detect(picture) if face.width >= judges.min_face_px]
    for left, _, right, _ in HALVES:
        inside = [face for face in found if left <= face.centre[0] / picture.width < right]
        yield picture, max(inside, key=lambda face: face.width, default=None)
