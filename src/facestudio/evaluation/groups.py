"""Which groups people belong to, and what a model gives each of them.

Labels of the set or of a file come first. Where there are none, gender and age are read from the
reference photo by the fitted classifiers and the skin's tone is measured in it; such groups are
called "apparent": they say how somebody looks in a photo and are wrong at times.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from facestudio.errors import BadOption
from facestudio.evaluation.classifiers import AGE, GENDER, Classifiers, portrait_features
from facestudio.evaluation.measures import Estimate, estimate
from facestudio.evaluation.people import Person, groups_of
from facestudio.faces.align import align_face

# Individual typology angle: tan and darker, between, light and lighter (Chardon et al. 1991).
TONES = ((28.0, "dark"), (48.0, "medium"), (float("inf"), "light"))
CHEEKS = ((24, 44, 60, 78), (68, 88, 60, 78))  # left, right, top, bottom in the 112 px crop
WHITE_D65 = np.array([0.95047, 1.0, 1.08883])
TO_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                   [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip


@dataclass(frozen=True)
class GroupResult:
    """A group's share of outputs with a face and likeness."""

    with_face: Estimate
    reference: Estimate
    other: Estimate
    real_pairs: Estimate


def label_people(people: Sequence[Person], labels: Path | None) -> list[Person]:
    """The people with the groups that a file of labels gives them in place of the set's."""
    if labels is None:
        return list(people)
    try:
        given = json.loads(labels.read_text("utf-8"))
        return [
            replace(each, groups={**each.groups, **groups_of(given.get(each.name, {}))})
            for each in people
        ]
    except (ValueError, AttributeError) as problem:
        hint = 'write {"person": {"gender": "female", "age": 40, "skin": "dark"}}'
        raise BadOption(f"{labels} holds no labels: {problem}", file=labels, hint=hint) from problem


def see_groups(
    people: Sequence[Person], eyes: np.ndarray, classifiers: Classifiers
) -> list[dict[str, str]]:
    """Each person's groups, with apparent ones where nothing is labelled."""
    photos = [person.reference for person in people]
    features = portrait_features(classifiers.network, photos, eyes).content
    groups: list[dict[str, str]] = [
        {"apparent skin": skin_tone(photo, own)} for photo, own in zip(photos, eyes, strict=True)
    ]
    for label in (GENDER, AGE):
        head = classifiers.heads.get(label)
        if head is not None:
            for own, chosen in zip(groups, head.choose(features), strict=True):
                own[f"apparent {label}"] = head.names[chosen]
    return [
        {k: v for k, v in own.items() if k.removeprefix("apparent ") not in _known(person)}
        | dict(person.groups)
        for own, person in zip(groups, people, strict=True)
    ]


def _known(person: Person) -> set[str]:
    known = set(person.groups)
    return known | {"skin"} if "ethnicity" in known else known


def skin_tone(photo: Image.Image, eyes: np.ndarray) -> str:
    """ "light", "medium" or "dark" by the individual typology angle of the cheeks in a photo.

    It depends on the light that the photo was taken in.
    """
    crop = align_face(photo, eyes)
    angles = [typology_angle(crop[top:bottom, left:right]) for left, right, top, bottom in CHEEKS]
    return next(name for below, name in TONES if max(angles) < below)


def typology_angle(pixels: np.ndarray) -> float:
    """arctan((L - 50) / b) in degrees, of the median of sRGB pixels (H, W, 3)."""
    values = np.median(pixels.reshape(-1, 3), axis=0) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    ratio = TO_XYZ @ linear / WHITE_D65
    root = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    lightness, yellow = 116 * root[1] - 16, 200 * (root[1] - root[2])
    return float(np.degrees(np.arctan2(lightness - 50, yellow)))


def group_members(groups: Sequence[Mapping[str, str]]) -> dict[str, list[int]]:
    """ "gender=female" -> the people's numbers, in the order of the names."""
    members: dict[str, list[int]] = {}
    for number, own in enumerate(groups):
        for label, value in own.items():
            members.setdefault(f"{label}={value}", []).append(number)
    return dict(sorted(members.items()))


def judge_groups(
    groups: Sequence[Mapping[str, str]],
    seen: np.ndarray,
    reference: np.ndarray,
    other: np.ndarray,
    real_pairs: np.ndarray,
) -> dict[str, GroupResult]:
    """Each group's figures from one value a person: (N,) each, nan: not asked for."""
    return {
        group: GroupResult(*(estimate(each[own]) for each in (seen, reference, other, real_pairs)))
        for group, own in group_members(groups).items()
    }


def worst_ratio(
    groups: Mapping[str, GroupResult], mean: float, least: int
) -> tuple[str, float | None]:
    """The group of `least` people or more whose likeness is lowest, and that over the mean.

    ("", None) where no group is large enough or the mean is not over 0.
    """
    large = {
        name: each.reference.mean for name, each in groups.items() if each.reference.n >= least
    }
    if not large or mean <= 0:
        return "", None
    worst = min(large, key=lambda name: large[name])
    return worst, large[worst] / mean
