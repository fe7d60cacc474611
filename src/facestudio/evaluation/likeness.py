"""Likeness of outputs: by condition, and averaged over conditions person by person."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from facestudio.evaluation.appearance import is_photographic
from facestudio.evaluation.groups import GroupResult, judge_groups
from facestudio.evaluation.judges import INDEPENDENT, OWN, RAW, Judges, Vectors
from facestudio.evaluation.measures import (
    RealPairs,
    estimate,
    hits,
    judge_outputs,
    judge_photos,
    same_person,
)
from facestudio.evaluation.outputs import LIKENESS, Condition
from facestudio.evaluation.report import DRAWN, NOBODY, PHOTOGRAPHIC, Average, ConditionResult
from facestudio.evaluation.sitters import Sitters

Outputs = Mapping[str, Vectors]


def judge_real(judges: Judges, sitters: Sitters, false_accepts: float) -> dict[str, RealPairs]:
    """What the photos themselves give, by recogniser."""
    return {
        name: judge_photos(
            scale,
            sitters.reference.of(name),
            sitters.other.of(name),
            false_accepts,
            sitters.third.of(name),
        )
        for name, scale in judges.scales().items()
    }


def judge_condition(
    judges: Judges,
    condition: Condition,
    outputs: Vectors,
    sitters: Sitters,
    thresholds: Mapping[str, float],
) -> ConditionResult:
    """One condition's figures over the people that it was asked for."""
    likeness = {
        name: judge_outputs(
            scale,
            outputs.of(name),
            sitters.reference.of(name),
            sitters.other.of(name),
            thresholds[name],
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
        drawn=condition.drawn,
    )


def sort_conditions(conditions: Sequence[Condition]) -> dict[str, list[Condition]]:
    """The conditions that an average is taken over, by its name; none without conditions."""
    likeness = [each for each in conditions if each.purpose == LIKENESS]
    sorted_ = {
        PHOTOGRAPHIC: [each for each in likeness if is_photographic(each)],
        DRAWN: [each for each in likeness if each.drawn and each.identity],
        NOBODY: [each for each in likeness if each.kind == "prompt" and not each.identity],
    }
    return {name: members for name, members in sorted_.items() if members}


def average(
    judges: Judges,
    conditions: Sequence[Condition],
    outputs: Outputs,
    sitters: Sitters,
    threshold: float,
) -> Average:
    """The figures of several conditions together, each person counting once."""
    values = [person_values(judges, outputs[each.name], sitters) for each in conditions]
    means = {name: person_means([each[name] for each in values]) for name in values[0]}
    verified = [np.asarray(each["other"] >= threshold, float) for each in values]
    return Average(
        conditions=len(conditions),
        verified_other=estimate(person_means(verified)),
        **{name: estimate(value) for name, value in means.items()},
    )


def person_values(judges: Judges, outputs: Vectors, sitters: Sitters) -> dict[str, np.ndarray]:
    """One value a person, (N,), by the trusted recogniser, for each figure of an Average."""
    name, scales = judges.trusted, judges.scales()
    scale, made = scales[name], outputs.of(name)
    reference, other = sitters.reference.of(name), sitters.other.of(name)
    return {
        "with_face": outputs.seen.astype(float),
        "reference": same_person(scale, made, reference),
        "other": same_person(scale, made, other),
        "rank1_reference": hits(scale.table(made, reference)).astype(float),
        "rank1_other": hits(scale.table(made, other)).astype(float),
        "own_reference": same_person(scales[OWN], outputs.own, sitters.reference.own),
    }


def person_means(rows: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of each person's values, over rows that may know only the first people."""
    longest = max(len(row) for row in rows)
    padded = [np.pad(row, (0, longest - len(row)), constant_values=np.nan) for row in rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a person without values stays nan
        return np.asarray(np.nanmean(np.stack(padded), axis=0))


def judge_by_group(
    judges: Judges,
    conditions: Sequence[Condition],
    outputs: Outputs,
    sitters: Sitters,
    groups: Sequence[Mapping[str, str]],
) -> dict[str, GroupResult]:
    """Each group's figures over the conditions, each person counting once."""
    values = [person_values(judges, outputs[each.name], sitters) for each in conditions]
    name = judges.trusted
    pairs = judges.scales()[name].table(sitters.reference.of(name), sitters.other.of(name))
    seen, reference, other = (
        person_means([each[figure] for each in values])
        for figure in ("with_face", "reference", "other")
    )
    count = len(seen)
    return judge_groups(groups[:count], seen, reference, other, np.diag(pairs)[:count])
