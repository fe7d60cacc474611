"""The evaluation from settings to report: read people, make pictures, measure, write.

Every picture is kept in the out folder, so a stopped run goes on where it was and gives the same
figures; so does a later run with more people or another recogniser.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from facestudio.errors import BadOption
from facestudio.evaluation.measures import (
    Scale,
    estimate,
    judge_outputs,
    judge_photos,
)
from facestudio.evaluation.near import near_training
from facestudio.evaluation.outputs import (
    Condition,
    Progress,
    identify_people,
    list_conditions,
    make_outputs,
    open_folder,
    read_outputs,
)
from facestudio.evaluation.people import Person, read_people
from facestudio.evaluation.recognisers import (
    align_five_points,
    embed_crops,
    find_central,
    load_detector,
)
from facestudio.evaluation.report import (
    ConditionResult,
    GroupResult,
    PeopleCount,
    Report,
    group_members,
)
from facestudio.evaluation.settings import DLIB, EvaluationSettings, check_settings
from facestudio.evaluation.sheets import write_sheets
from facestudio.faces.align import align_face
from facestudio.faces.detect import Detector
from facestudio.faces.embed import DlibEncoder, IdentityEncoder, OnnxEncoder, encoder_id
from facestudio.pipeline.pipeline import FaceStudioPipeline
from facestudio.settings import to_dict

OWN, RAW, INDEPENDENT = "own", "own_raw", "independent"


@dataclass(frozen=True)
class Vectors:
    """Who is in N pictures: (N, D) by the model's own encoder and by the independent one."""

    own: np.ndarray
    independent: np.ndarray | None

    @property
    def seen(self) -> np.ndarray:
        """Where a face was found, bool (N,)."""
        return ~np.isnan(self.own[:, 0])

    def of(self, recogniser: str) -> np.ndarray:
        """The vectors that a recogniser of this name compares."""
        if recogniser != INDEPENDENT:
            return self.own
        assert self.independent is not None
        return self.independent

    def __getitem__(self, people: np.ndarray | list[int]) -> Vectors:
        independent = None if self.independent is None else self.independent[people]
        return Vectors(self.own[people], independent)


@dataclass(frozen=True)
class Judges:
    """What looks at the pictures: a detector, the model's encoder, an independent one."""

    detector: Detector
    own: IdentityEncoder
    independent: IdentityEncoder | None
    min_face_px: int
    by_points: bool = True  # the independent one takes crops by five points, else by the eyes

    def look(self, pictures: Iterable[Image.Image]) -> Vectors:
        """Who is in the pictures; each is searched once, for its most central face."""
        by_eyes: list[np.ndarray | None] = []
        by_points: list[np.ndarray | None] = []
        for picture in pictures:
            face = find_central(picture, self.detector, self.min_face_px)
            by_eyes.append(None if face is None else align_face(picture, face.eyes))
            by_points.append(None if face is None else align_five_points(picture, face.points))
        independent = None
        if self.independent is not None:
            crops = by_points if self.by_points else by_eyes
            independent = embed_crops(self.independent, crops)
        return Vectors(embed_crops(self.own, by_eyes), independent)

    def scales(self) -> dict[str, Scale]:
        """How each recogniser's vectors are compared."""
        scales = {OWN: Scale.of(self.own.calibration), RAW: Scale()}
        if self.independent is None:
            return scales
        return scales | {INDEPENDENT: Scale.of(self.independent.calibration)}


def evaluate(
    settings: EvaluationSettings,
    on_progress: Progress | None = None,
    pipe: FaceStudioPipeline | None = None,
) -> Report:
    """Measure a model and write report.json, report.md, sheets and every picture to settings.out.

    on_progress(done, total) is called after each picture; `pipe` stands in for settings.model.
    Raises FaceStudioError, before any picture is made where possible.
    """
    check_settings(settings)
    open_folder(settings.out)
    everybody = read_people(settings.people, settings.half, settings.n_people)
    pipe = pipe or FaceStudioPipeline.from_pretrained(settings.model)
    judges = load_judges(settings, pipe)
    reference = judges.look(person.reference for person in everybody)
    other = judges.look(person.other for person in everybody)
    identities = identify_people(pipe, everybody)
    usable = reference.seen & other.seen & [person.name in identities for person in everybody]
    near = near_training(settings.against, judges.own, (reference.own, other.own), settings.near)
    kept = np.flatnonzero(usable & ~near)
    count = PeopleCount(len(everybody), int((~usable).sum()), int((usable & near).sum()), len(kept))
    if len(kept) < 2:
        raise BadOption(f"{settings.people}: nobody is left to evaluate of {count}")
    people = [everybody[index] for index in kept]
    make_outputs(pipe, settings, people, identities, on_progress)
    report = judge(settings, judges, people, reference[kept], other[kept], count)
    report.write(settings.out)
    draw_sheets(settings, people)
    return report


def load_judges(settings: EvaluationSettings, pipe: FaceStudioPipeline) -> Judges:
    """The detector and the recognisers that the settings name."""
    independent: IdentityEncoder | None = None
    if settings.recogniser == DLIB:
        independent = DlibEncoder()
    elif settings.recogniser is not None:
        independent = OnnxEncoder(settings.recogniser, value_range=settings.recogniser_range)
    detector = load_detector(settings.detector)
    by_points = settings.recogniser != DLIB
    return Judges(detector, pipe.identity_encoder, independent, settings.min_face_px, by_points)


def judge(
    settings: EvaluationSettings,
    judges: Judges,
    people: Sequence[Person],
    reference: Vectors,
    other: Vectors,
    count: PeopleCount,
) -> Report:
    """The report on the pictures that lie in the out folder."""
    real = {
        name: judge_photos(scale, reference.of(name), other.of(name), settings.false_accepts)
        for name, scale in judges.scales().items()
    }
    thresholds = {name: pairs.strangers_high for name, pairs in real.items()}
    conditions = []
    for condition in list_conditions(settings):
        outputs = judges.look(read_outputs(settings.out, condition, people))
        result = judge_condition(judges, condition, outputs, reference, other, thresholds)
        groups = judge_groups(judges, people, outputs, reference, other)
        conditions.append(replace(result, groups=groups))
    return Report(
        settings=to_dict(settings),
        encoder=encoder_id(judges.own),
        recogniser=None if judges.independent is None else encoder_id(judges.independent),
        people=count,
        real=real,
        conditions=tuple(conditions),
    )


def judge_condition(
    judges: Judges,
    condition: Condition,
    outputs: Vectors,
    reference: Vectors,
    other: Vectors,
    thresholds: dict[str, float],
) -> ConditionResult:
    """One condition's figures over all people."""
    likeness = {
        name: judge_outputs(
            scale, outputs.of(name), reference.of(name), other.of(name), thresholds[name]
        )
        for name, scale in judges.scales().items()
    }
    return ConditionResult(
        name=condition.name,
        kind=condition.kind,
        what=condition.what,
        identity=condition.identity,
        with_face=estimate(outputs.seen),
        own=likeness[OWN],
        own_raw=likeness[RAW],
        independent=likeness.get(INDEPENDENT),
    )


def judge_groups(
    judges: Judges,
    people: Sequence[Person],
    outputs: Vectors,
    reference: Vectors,
    other: Vectors,
) -> dict[str, GroupResult]:
    """Each group's figures by the independent recogniser, else by the model's own."""
    scales = judges.scales()
    name = INDEPENDENT if INDEPENDENT in scales else OWN
    same = [
        np.diag(scales[name].table(a.of(name), b.of(name)))
        for a, b in ((outputs, reference), (outputs, other), (reference, other))
    ]
    members = group_members([person.groups for person in people])
    return {
        group: GroupResult(
            with_face=estimate(outputs.seen[own]),
            reference=estimate(np.nan_to_num(same[0][own])),
            other=estimate(np.nan_to_num(same[1][own])),
            real_pairs=estimate(same[2][own]),
        )
        for group, own in members.items()
    }


def draw_sheets(settings: EvaluationSettings, people: Sequence[Person]) -> None:
    """Write the contact sheets of the first people."""
    shown = people[: settings.sheet_people]
    columns = [
        ("reference", [person.reference for person in shown]),
        ("other photo", [person.other for person in shown]),
    ]
    for condition in list_conditions(settings):
        columns.append((condition.name, list(read_outputs(settings.out, condition, shown))))
    write_sheets(settings.out / "sheets", columns)
