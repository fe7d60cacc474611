"""What outputs look like to the fitted classifiers: style, attributes, and beside real pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from facestudio.data.labels import PHOTO
from facestudio.evaluation.classifiers import (
    ATTRIBUTES,
    STYLE,
    Classifiers,
    portrait_features,
)
from facestudio.evaluation.features import Features
from facestudio.evaluation.measures import Estimate, estimate
from facestudio.evaluation.outputs import SEED, WORDS, Condition
from facestudio.evaluation.quality import (
    frechet_distance,
    mean_distance,
    scene_similarity,
    sharpness,
)
from facestudio.evaluation.real import RealPictures


@dataclass(frozen=True)
class Seen:
    """What N outputs of a condition look like.

    features: of the pictures; styles: numbers of the styles they seem to be in, (N,);
    attributes: bool (N, K); sharpness (N,); eyes (N, 2, 2) and the pictures' (width, height).
    """

    features: Features
    styles: np.ndarray
    attributes: np.ndarray
    sharpness: np.ndarray
    eyes: np.ndarray
    picture_px: tuple[int, int]


@dataclass(frozen=True)
class StyleResult:
    """How often the style asked for is recognised, and what else the outputs seem to be."""

    condition: str
    style: str
    by: str  # "picture" or "prompt"
    recognised: Estimate
    taken_for: dict[str, float]  # the others, most frequent first, as shares
    on_real: float  # recognised in real pictures of this style


@dataclass(frozen=True)
class AttributeResult:
    """How often an attribute is found when asked for, and beside it in the same people's plain
    pictures; points: the difference, person by person."""

    attribute: str
    prompt: str
    found: Estimate
    base: Estimate
    points: Estimate
    on_real: float  # found in real pictures that have it
    wrongly_on_real: float


@dataclass(frozen=True)
class Sharpness:
    """Mean sharpness of outputs in a style and of real pictures, and the ratio of the two."""

    outputs: float
    real: float
    ratio: float


@dataclass(frozen=True)
class QualityResult:
    """Outputs as pictures.

    frechet: of `n` photographic outputs to real photos; frechet_real: of as many other real
    photos. sharpness: by style. variety: mean distance of one person's pictures from different
    noise, over that between real photos. scene: similarity, outside the face, of pictures with
    and without the identity; scene_strangers: of pictures of two people, as a floor.
    """

    n: int
    frechet: float
    frechet_real: float
    sharpness: dict[str, Sharpness]
    variety: float
    scene: Estimate
    scene_strangers: float

    @property
    def sharpness_ratio(self) -> float:
        """The mean of the styles' ratios."""
        ratios = [each.ratio for each in self.sharpness.values()]
        return float(np.mean(ratios)) if ratios else float("nan")


def see(classifiers: Classifiers, pictures: Sequence[Image.Image], eyes: np.ndarray) -> Seen:
    """What outputs look like; eyes: (N, 2, 2) where their faces were found, else nan."""
    features = classifiers.network.look(pictures)
    attributes = classifiers.heads.get(ATTRIBUTES)
    found = np.zeros((len(pictures), 0), bool)
    if attributes is not None:
        portraits = portrait_features(classifiers.network, pictures, eyes)
        found = attributes.holds(portraits.content)
    return Seen(
        features=features,
        styles=classifiers.heads[STYLE].choose(features.style),
        attributes=found,
        sharpness=np.array([sharpness(picture) for picture in pictures]),
        eyes=eyes,
        picture_px=pictures[0].size,
    )


def judge_styles(
    conditions: Sequence[Condition], seen: Mapping[str, Seen], classifiers: Classifiers
) -> tuple[StyleResult, ...]:
    """One result for each condition that asks for a style."""
    return tuple(
        _judge_style(each, seen[each.name], classifiers) for each in conditions if each.look
    )


def _judge_style(condition: Condition, seen: Seen, classifiers: Classifiers) -> StyleResult:
    names = classifiers.heads[STYLE].names
    assert condition.look is not None
    right = seen.styles == names.index(condition.look)
    others = Counter(names[number] for number in seen.styles[~right])
    return StyleResult(
        condition=condition.name,
        style=condition.look,
        by="picture" if condition.kind == "shown" else "prompt",
        recognised=estimate(right),
        taken_for={name: count / len(right) for name, count in others.most_common(3)},
        on_real=classifiers.accuracy[STYLE][condition.look].found,
    )


def judge_words(
    conditions: Sequence[Condition], seen: Mapping[str, Seen], classifiers: Classifiers
) -> tuple[AttributeResult, ...]:
    """One result for each attribute asked for, beside the same people's plain pictures."""
    asked = [each for each in conditions if each.purpose == WORDS]
    return tuple(
        _judge_attribute(each, seen[each.name], seen[conditions[0].name], classifiers)
        for each in asked
    )


def _judge_attribute(
    condition: Condition, seen: Seen, plain: Seen, classifiers: Classifiers
) -> AttributeResult:
    assert condition.attribute is not None
    name = condition.attribute
    place = classifiers.heads[ATTRIBUTES].names.index(name)
    found = seen.attributes[:, place].astype(float)
    base = plain.attributes[: len(found), place].astype(float)
    real = classifiers.accuracy[ATTRIBUTES][name]
    return AttributeResult(
        attribute=name,
        prompt=condition.what,
        found=estimate(found),
        base=estimate(base),
        points=estimate(found - base),
        on_real=real.found,
        wrongly_on_real=real.wrongly_found,
    )


def judge_quality(
    conditions: Sequence[Condition],
    seen: Mapping[str, Seen],
    classifiers: Classifiers,
    real: RealPictures,
    n_real: int,
) -> QualityResult | None:
    """The outputs beside real pictures; None where nothing photographic was asked for."""
    photographic = [each for each in conditions if is_photographic(each)]
    if not photographic:
        return None
    outputs = np.concatenate([seen[each.name].features.pooled for each in photographic])
    photos = real.read(PHOTO, n_real + len(outputs))
    known = classifiers.network.look(photos).pooled
    apart = known[n_real:]
    return QualityResult(
        n=len(outputs),
        frechet=frechet_distance(outputs, known[:n_real]),
        frechet_real=frechet_distance(apart, known[:n_real]) if len(apart) > 1 else float("nan"),
        sharpness=judge_sharpness(conditions, seen, real, n_real),
        variety=judge_variety(conditions, seen) / mean_distance(known[:n_real]),
        scene=estimate(scenes(conditions, seen)),
        scene_strangers=float(np.nanmean(scenes(conditions, seen, shift=1))),
    )


def is_photographic(condition: Condition) -> bool:
    """Whether a plain photograph of the person is asked for."""
    plain = condition.identity and condition.purpose not in (WORDS, SEED)
    return plain and not condition.drawn and condition.kind in ("prompt", "shown")


def judge_sharpness(
    conditions: Sequence[Condition], seen: Mapping[str, Seen], real: RealPictures, n_real: int
) -> dict[str, Sharpness]:
    """The sharpness of each style's outputs over that of real pictures in it."""
    outputs: dict[str, list[np.ndarray]] = {}
    for each in conditions:
        if is_photographic(each) or each.drawn:
            outputs.setdefault(each.look or PHOTO, []).append(seen[each.name].sharpness)
    result = {}
    for style, values in outputs.items():
        own = float(np.concatenate(values).mean())
        known = float(np.mean([sharpness(picture) for picture in real.read(style, n_real)]))
        result[style] = Sharpness(own, known, own / known)
    return result


def judge_variety(conditions: Sequence[Condition], seen: Mapping[str, Seen]) -> float:
    """Mean distance of the pictures of one person from different noise; nan without any."""
    again = [each for each in conditions if each.purpose == SEED]
    if not again:
        return float("nan")
    rows = [seen[each.name].features.pooled for each in (conditions[0], *again)]
    people = min(len(each) for each in rows)
    return float(np.mean([mean_distance(np.stack([r[i] for r in rows])) for i in range(people)]))


def scenes(conditions: Sequence[Condition], seen: Mapping[str, Seen], shift: int = 0) -> np.ndarray:
    """Similarity outside the face of each picture to the one without identity.

    shift: to the one of the person that many places on, instead.
    """
    values = []
    for condition in conditions:
        nobody = seen.get(f"{condition.name}-nobody")
        if nobody is None:
            continue
        own = seen[condition.name]
        for i in range(len(own.features)):
            j = (i + shift) % len(own.features)
            maps = own.features.scene[i], nobody.features.scene[j]
            eyes = own.eyes[i], nobody.eyes[j]
            values.append(scene_similarity(*maps, eyes, own.picture_px))
    return np.array(values)
