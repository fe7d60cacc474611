"""The evaluation from settings to report: read people, make pictures, measure, write.

Every picture is kept in the out folder, so a stopped run goes on where it was and gives the same
figures; so does a later run with more people or another recogniser.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from facestudio.evaluation.appearance import (
    Seen,
    judge_quality,
    judge_styles,
    judge_words,
    see,
)
from facestudio.evaluation.classifiers import Classifiers
from facestudio.evaluation.gallery import draw_sheets
from facestudio.evaluation.groups import see_groups, worst_ratio
from facestudio.evaluation.judges import Judges, Vectors, load_judges
from facestudio.evaluation.likeness import (
    average,
    judge_by_group,
    judge_condition,
    judge_real,
    sort_conditions,
)
from facestudio.evaluation.outputs import (
    SEED,
    Condition,
    Progress,
    claim_folder,
    list_conditions,
    make_outputs,
    make_picture,
    open_folder,
    read_outputs,
    weights_mark,
    write_styles,
)
from facestudio.evaluation.pairs import judge_pairs, make_pairs
from facestudio.evaluation.plots import write_plots
from facestudio.evaluation.real import RealPictures
from facestudio.evaluation.report import PHOTOGRAPHIC, Report, Speed
from facestudio.evaluation.settings import EvaluationSettings, check_settings
from facestudio.evaluation.sitters import Sitters, find_sitters
from facestudio.faces.embed import encoder_id
from facestudio.pipeline.load import find_model
from facestudio.pipeline.pipeline import FaceStudioPipeline
from facestudio.settings import to_dict

MEGABYTE = 1e6


@dataclass(frozen=True)
class Beside:
    """What outputs are compared with beyond the people's photos: both, or neither."""

    classifiers: Classifiers
    real: RealPictures


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
    beside = load_beside(settings)
    given, pipe = pipe, pipe or FaceStudioPipeline.from_pretrained(settings.model)
    judges = load_judges(settings, pipe)
    sitters = find_sitters(settings, judges, pipe)
    claim_folder(settings, weights_mark(pipe))
    if beside is not None:
        write_styles(settings, sitters.people, beside.real)
    make_outputs(pipe, settings, sitters.people, sitters.identities, on_progress)
    make_pairs(pipe, settings, sitters.people, sitters.identities, on_progress)
    report = judge(
        settings, judges, sitters, beside,
        model_mb=None if given is not None else measure_size(settings.model),
        speed=measure_speed(settings, pipe, sitters),
    )  # fmt: skip
    report.write(settings.out)
    write_plots(report, settings.out / "plots")
    draw_sheets(settings, sitters.people)
    return report


def load_beside(settings: EvaluationSettings) -> Beside | None:
    """The fitted classifiers and the real pictures, where the settings name both."""
    if settings.classifiers is None or not settings.real:
        return None
    classifiers = Classifiers.load(settings.classifiers)
    return Beside(classifiers, RealPictures(settings.real, classifiers.styles, settings.held_out))


def measure_size(model: str) -> float:
    """The size of all files of a model's folder in MB."""
    files = (path for path in find_model(model).rglob("*") if path.is_file())
    return round(sum(path.stat().st_size for path in files) / MEGABYTE, 2)


def measure_speed(
    settings: EvaluationSettings, pipe: FaceStudioPipeline, sitters: Sitters
) -> Speed | None:
    """The median time of settings.timed pictures after one that does not count."""
    if not settings.timed:
        return None
    person, condition = sitters.people[0], list_conditions(settings)[0]
    seconds = []
    for _ in range(settings.timed + 1):
        started = time.perf_counter()
        make_picture(pipe, settings, condition, person, sitters.identities[person.name])
        seconds.append(time.perf_counter() - started)
    median = float(np.median(seconds[1:]))
    return Speed(median, settings.timed, torch.get_num_threads(), pipe.like.device.type)


def judge(
    settings: EvaluationSettings,
    judges: Judges,
    sitters: Sitters,
    beside: Beside | None = None,
    **known: Any,
) -> Report:
    """The report on the pictures that lie in the out folder; known: fields measured elsewhere."""
    real = judge_real(judges, sitters, settings.false_accepts)
    thresholds = {name: pairs.strangers_high for name, pairs in real.items()}
    conditions = list_conditions(settings)
    outputs: dict[str, Vectors] = {}
    seen: dict[str, Seen] = {}
    for condition in conditions:
        pictures = list(read_outputs(settings.out, condition, sitters.people))
        outputs[condition.name] = judges.look(pictures)
        if beside is not None:
            eyes = outputs[condition.name].eyes
            seen[condition.name] = see(beside.classifiers, pictures, eyes)
    averages = {
        name: average(judges, members, outputs, sitters, thresholds[judges.trusted])
        for name, members in sort_conditions(conditions).items()
    }
    return Report(
        settings=to_dict(settings),
        encoder=encoder_id(judges.own),
        recogniser=None if judges.independent is None else encoder_id(judges.independent),
        people=sitters.count,
        real=real,
        conditions=tuple(
            judge_condition(judges, each, outputs[each.name], sitters, thresholds)
            for each in conditions
            if each.purpose != SEED
        ),
        averages=averages,
        pairs=judge_pairs(settings, judges, sitters.people, sitters.reference),
        **judge_fairness(settings, judges, sitters, beside, outputs),
        **({} if beside is None else judge_appearance(settings, conditions, seen, beside)),
        **known,
    )


def judge_fairness(
    settings: EvaluationSettings,
    judges: Judges,
    sitters: Sitters,
    beside: Beside | None,
    outputs: dict[str, Vectors],
) -> dict[str, Any]:
    """The report's fields on groups, over the photographic conditions."""
    members = sort_conditions(list_conditions(settings)).get(PHOTOGRAPHIC, [])
    if not members:
        return {}
    people = sitters.people
    known: Sequence[Mapping[str, str]] = [person.groups for person in people]
    if beside is not None:
        known = see_groups(people, sitters.reference.eyes[: len(people)], beside.classifiers)
    groups = judge_by_group(judges, members, outputs, sitters, known)
    everybody = judge_by_group(judges, members, outputs, sitters, [{"all": "all"}] * len(people))
    mean = everybody["all=all"].reference.mean
    worst, ratio = worst_ratio(groups, mean, settings.min_group)
    return {"groups": groups, "worst_group": worst, "worst_group_ratio": ratio}


def judge_appearance(
    settings: EvaluationSettings,
    conditions: Sequence[Condition],
    seen: dict[str, Seen],
    beside: Beside,
) -> dict[str, Any]:
    """The report's fields on style, words and quality."""
    classifiers = beside.classifiers
    return {
        "styles": judge_styles(conditions, seen, classifiers),
        "words": judge_words(conditions, seen, classifiers),
        "quality": judge_quality(conditions, seen, classifiers, beside.real, settings.n_real),
        "classifiers": classifiers.right(),
    }
