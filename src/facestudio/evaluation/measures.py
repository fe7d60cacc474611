"""Figures from vectors: likeness, rank-1, verified share, copying, each with an interval.

Vectors are (N, D), row i of every array the same person; a row of nan means that no face was
found. A missing face counts as similarity 0 and as not recognised.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facestudio.faces.calibration import Calibration

DRAWS = 1000


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` people with its 95 % interval (percentile bootstrap over the people)."""

    mean: float
    low: float
    high: float
    n: int


NOTHING = Estimate(float("nan"), float("nan"), float("nan"), 0)


@dataclass(frozen=True)
class RealPairs:
    """What the photos themselves give: the ceiling, the floor, and the threshold between.

    same: one person's two photos. strangers: two people. strangers_high: exceeded by strangers at
    the asked rate of false accepts, the threshold of "verified". rank1: recognised among all.
    beyond: a third photo's similarity to the first beyond that to the second, which copies nobody.
    """

    same: Estimate
    strangers: float
    strangers_high: float
    rank1: Estimate
    verified: Estimate
    beyond: Estimate = NOTHING


@dataclass(frozen=True)
class Likeness:
    """How like their people outputs are, against the reference and against another photo.

    rank1: nearest of all people's photos is the person's. verified: at or over the threshold.
    beyond: similarity to the reference beyond that to the other photo.
    copy_paste: 1 as near to the reference as can be, 0 as near to one photo as to the other,
    -1 as near as can be to the photo never seen; over outputs with a face.
    """

    reference: Estimate
    other: Estimate
    rank1_reference: Estimate
    rank1_other: Estimate
    verified_reference: Estimate
    verified_other: Estimate
    copy_paste: Estimate
    beyond: Estimate = NOTHING


class Scale:
    """Similarity of two vectors: cosine about `mean`, brought to 0 for `zero` and 1 for `one`."""

    def __init__(self, mean: np.ndarray | float = 0.0, zero: float = 0.0, one: float = 1.0) -> None:
        self.mean, self.zero, self.one = mean, zero, one

    @classmethod
    def of(cls, calibration: Calibration | None) -> Scale:
        """The scale on which an encoder's strangers are 0 and the same picture 1."""
        if calibration is None:
            return cls()
        length = float(np.sqrt(calibration.mean.shape[-1]))  # vectors of RMS 1 have this length
        return cls(calibration.mean / length, calibration.strangers, calibration.same)

    def table(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Similarities (N, M) of every row to every column, nan where a face is missing."""
        cosines = self._unit(rows) @ self._unit(columns).T
        return np.asarray((cosines - self.zero) / (self.one - self.zero))

    def _unit(self, vectors: np.ndarray) -> np.ndarray:
        centred = _unit(np.asarray(vectors, np.float64)) - self.mean
        return _unit(centred)


def estimate(values: np.ndarray, seed: int = 0) -> Estimate:
    """Mean and interval of one value a person; nan values are left out of it.

    The same values give the same interval.
    """
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return NOTHING
    rng = np.random.default_rng(seed)
    means = values[rng.integers(len(values), size=(DRAWS, len(values)))].mean(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Estimate(float(values.mean()), float(low), float(high), len(values))


def judge_photos(
    scale: Scale,
    reference: np.ndarray,
    other: np.ndarray,
    false_accepts: float,
    third: np.ndarray | None = None,
) -> RealPairs:
    """Ceiling, floor and threshold from two photos (N, D) each of N people, a third where known.

    third: (N, D), nan rows for people who have none.
    """
    table = scale.table(reference, other)
    strangers = table[~np.eye(len(table), dtype=bool)]
    strangers = strangers[~np.isnan(strangers)]
    threshold = float(np.quantile(strangers, 1 - false_accepts))
    same = np.diag(table)
    return RealPairs(
        same=estimate(same),
        strangers=float(strangers.mean()),
        strangers_high=threshold,
        rank1=estimate(hits(table)),
        verified=estimate(same >= threshold),
        beyond=estimate(np.zeros(0) if third is None else beyond(scale, third, reference, other)),
    )


def judge_outputs(
    scale: Scale,
    outputs: np.ndarray,
    reference: np.ndarray,
    other: np.ndarray,
    threshold: float,
) -> Likeness:
    """How like N outputs (N, D) are their people, whose two photos are the first N of (M, D).

    The other M - N photos are people whom an output may be taken for.
    """
    to_reference, to_other = scale.table(outputs, reference), scale.table(outputs, other)
    same = [np.nan_to_num(np.diag(table)) for table in (to_reference, to_other)]
    seen = ~np.isnan(np.diag(to_reference))
    verified = [seen & (values >= threshold) for values in same]
    return Likeness(
        reference=estimate(same[0]),
        other=estimate(same[1]),
        rank1_reference=estimate(hits(to_reference)),
        rank1_other=estimate(hits(to_other)),
        verified_reference=estimate(verified[0]),
        verified_other=estimate(verified[1]),
        copy_paste=estimate(copy_paste(scale, outputs, reference, other)),
        beyond=estimate(beyond(scale, outputs, reference, other)),
    )


def hits(table: np.ndarray) -> np.ndarray:
    """For each row of similarities (N, M) whether the largest is on the diagonal; nan never is."""
    known = np.where(np.isnan(table), -np.inf, table)
    return (known.argmax(1) == np.arange(len(known))) & np.isfinite(np.diag(known))


def same_person(scale: Scale, outputs: np.ndarray, photos: np.ndarray) -> np.ndarray:
    """Similarity (N,) of each output to its own person's photo; 0 where a face is missing."""
    return np.nan_to_num(np.diag(scale.table(outputs, photos[: len(outputs)])))


def beyond(
    scale: Scale, outputs: np.ndarray, reference: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """Similarity to the reference less that to the other photo, (N,), nan: no face."""
    to_reference, to_other = (
        np.diag(scale.table(outputs, photos[: len(outputs)])) for photos in (reference, other)
    )
    return np.asarray(to_reference - to_other)


def copy_paste(
    scale: Scale, outputs: np.ndarray, reference: np.ndarray, other: np.ndarray
) -> np.ndarray:
    """(angle to other - angle to reference) / angle between the two photos, -1…1, nan: no face."""
    reference, other = reference[: len(outputs)], other[: len(outputs)]
    to_other, to_reference, apart = (
        _angles(scale, *pair)
        for pair in ((outputs, other), (outputs, reference), (reference, other))
    )
    return np.clip((to_other - to_reference) / np.maximum(apart, 1e-6), -1, 1)


def _angles(scale: Scale, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    plain = Scale(scale.mean)
    return np.arccos(np.clip(np.diag(plain.table(a, b)), -1, 1))


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12))
