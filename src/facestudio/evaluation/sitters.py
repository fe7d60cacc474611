"""Who is evaluated: people with faces, apart from the training data, and who else is in the set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from facestudio.errors import BadOption
from facestudio.evaluation.groups import label_people
from facestudio.evaluation.judges import Judges, Vectors
from facestudio.evaluation.near import near_training
from facestudio.evaluation.outputs import identify_people
from facestudio.evaluation.people import Person, half_of, read_people
from facestudio.evaluation.report import PeopleCount
from facestudio.evaluation.settings import EvaluationSettings
from facestudio.faces.identity import Identity
from facestudio.pipeline.pipeline import FaceStudioPipeline


@dataclass(frozen=True)
class Sitters:
    """The N people evaluated, and the photos of M people, theirs first: all that an output may be
    recognised as.

    reference, other, third: M rows each, nan where there is no face or no third photo.
    """

    people: list[Person]
    identities: Mapping[str, Identity]
    reference: Vectors
    other: Vectors
    third: Vectors
    count: PeopleCount


def find_sitters(settings: EvaluationSettings, judges: Judges, pipe: FaceStudioPipeline) -> Sitters:
    """The people that the settings ask for. Raises BadOption where fewer than two are left."""
    everybody = label_people(read_people(settings.people), settings.labels)
    chosen = _choose(everybody, settings)
    reference = judges.look(person.reference for person in everybody)
    other = judges.look(person.other for person in everybody)
    identities = identify_people(pipe, [everybody[index] for index in chosen])
    seen = reference.seen & other.seen
    usable = seen[chosen] & [everybody[index].name in identities for index in chosen]
    photos = (reference.own[chosen], other.own[chosen])
    near = near_training(settings.against, judges.own, photos, settings.near)
    kept = chosen[usable & ~near]
    rest = np.setdiff1d(np.flatnonzero(seen), kept)
    count = PeopleCount(
        read=len(chosen),
        without_face=int((~usable).sum()),
        near_training=int((usable & near).sum()),
        evaluated=len(kept),
        gallery=len(kept) + len(rest),
    )
    if len(kept) < 2:
        raise BadOption(f"{settings.people}: nobody is left to evaluate of {count}")
    order = np.concatenate([kept, rest])
    third = judges.look(everybody[index].third for index in order)
    people = [everybody[index] for index in kept]
    return Sitters(people, identities, reference[order], other[order], third, count)


def _choose(everybody: Sequence[Person], settings: EvaluationSettings) -> np.ndarray:
    """The numbers of those of the half asked for, at most n_people."""
    own = [i for i, each in enumerate(everybody) if settings.half in ("all", half_of(each.name))]
    return np.array(own[: settings.n_people], int)
