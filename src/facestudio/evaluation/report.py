"""What an evaluation found, as plain values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from facestudio.evaluation.appearance import AttributeResult, QualityResult, StyleResult
from facestudio.evaluation.groups import GroupResult
from facestudio.evaluation.measures import Estimate, Likeness, RealPairs
from facestudio.evaluation.page import page_of
from facestudio.evaluation.pairs import PairResult
from facestudio.images import write_bytes
from facestudio.settings import to_dict

PHOTOGRAPHIC, DRAWN, NOBODY = "photographic", "drawn", "without_identity"


@dataclass(frozen=True)
class PeopleCount:
    """How many people were read, and how many were left out and why; gallery: all of the set
    among whom an output may be recognised."""

    read: int
    without_face: int
    near_training: int
    evaluated: int
    gallery: int = 0


@dataclass(frozen=True)
class ConditionResult:
    """One condition's figures.

    own: by the model's encoder, calibrated (strangers 0, same picture 1); own_raw: its plain
    cosine. independent: by the recogniser that had no part in training, None without one.
    """

    name: str
    kind: str
    what: str
    identity: bool
    with_face: Estimate
    own: Likeness
    own_raw: Likeness
    independent: Likeness | None
    drawn: bool = False


@dataclass(frozen=True)
class Average:
    """Figures over several conditions, averaged person by person, by the trusted recogniser."""

    conditions: int
    with_face: Estimate
    reference: Estimate
    other: Estimate
    rank1_reference: Estimate
    rank1_other: Estimate
    verified_other: Estimate
    own_reference: Estimate


@dataclass(frozen=True)
class Speed:
    """Median seconds of a picture with everything loaded, on how many threads of what."""

    seconds: float
    pictures: int
    threads: int
    device: str


@dataclass(frozen=True)
class Report:
    """All figures of an evaluation.

    real: the photos' own, by recogniser. averages: "photographic", "drawn", "without_identity".
    groups: "gender=female" -> figures over the photographic conditions. model_mb: of all files of
    the model's folder.
    """

    settings: dict[str, Any]
    encoder: str
    recogniser: str | None
    people: PeopleCount
    real: dict[str, RealPairs]
    conditions: tuple[ConditionResult, ...]
    averages: dict[str, Average] = field(default_factory=dict)
    groups: dict[str, GroupResult] = field(default_factory=dict)
    worst_group: str = ""
    worst_group_ratio: float | None = None
    styles: tuple[StyleResult, ...] = ()
    words: tuple[AttributeResult, ...] = ()
    quality: QualityResult | None = None
    pairs: PairResult | None = None
    model_mb: float | None = None
    speed: Speed | None = field(default=None, compare=False)
    classifiers: dict[str, float] = field(default_factory=dict)

    @property
    def bars(self) -> dict[str, float | None]:
        """The figures that a model is held to by their keys; None: not measured."""
        likeness = {
            "reference_photographic": self._average(PHOTOGRAPHIC, "reference"),
            "other_photographic": self._average(PHOTOGRAPHIC, "other"),
            "reference_drawn": self._average(DRAWN, "reference"),
            "rank1": self._average(PHOTOGRAPHIC, "rank1_other"),
            "without_identity": self._average(NOBODY, "reference"),
            "face_found": self._face_found(),
        }
        return likeness | {
            "style_of_picture": self._recognised("picture"),
            "style_of_prompt": self._recognised("prompt"),
            "attributes_points": _mean([100 * each.points.mean for each in self.words]),
            "two_people": None if self.pairs is None else self.pairs.both.mean,
            "sharpness_ratio": None if self.quality is None else self.quality.sharpness_ratio,
            "worst_group_ratio": self.worst_group_ratio,
            "model_mb": self.model_mb,
            "warm_seconds": None if self.speed is None else self.speed.seconds,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, the bars first; what is not a number is None."""
        known: dict[str, Any] = without_nan({"bars": self.bars, **to_dict(self)})
        return known

    def to_markdown(self) -> str:
        """A page: what was asked, the bars, the tables, how to read them."""
        return page_of(self)

    def write(self, folder: Path) -> None:
        """Write report.json and report.md into `folder`."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        write_bytes(folder / "report.json", text.encode())
        write_bytes(folder / "report.md", self.to_markdown().encode())

    @property
    def trusted(self) -> str:
        """The recogniser whose figures come first: the independent one where there is one."""
        return "independent" if self.recogniser else "own"

    def _average(self, name: str, figure: str) -> float | None:
        average = self.averages.get(name)
        return None if average is None else getattr(average, figure).mean

    def _face_found(self) -> float | None:
        """Over all outputs of all conditions with an identity, whatever was asked."""
        asked = [each.with_face for each in self.conditions if each.identity]
        pictures = sum(each.n for each in asked)
        return sum(each.mean * each.n for each in asked) / pictures if pictures else None

    def _recognised(self, by: str) -> float | None:
        return _mean([each.recognised.mean for each in self.styles if each.by == by])


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def without_nan(value: Any) -> Any:
    """The same plain values with None in place of what is not a number."""
    if isinstance(value, Mapping):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
