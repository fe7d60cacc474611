"""What a cosine means: strangers 0, same picture 1.

Recognisers differ in where strangers lie: raw dlib cosines of two strangers average 0.84. So
vectors are centred on the mean of many people, and the cosine is stretched.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from facestudio.errors import BadModel, BadOption

__all__ = ["Calibration", "Recogniser", "calibrate", "unit_rms"]


@dataclass(frozen=True)
class Calibration:
    """Where strangers and equals lie for one recogniser.

    `mean` is the average vector of many people, float32 (compare_dim,); `strangers` and `same`
    are the centred cosines that count as 0 and as 1.
    """

    mean: np.ndarray
    strangers: float
    same: float = 1.0

    def similarity(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Similarity of embeddings (..., dim) and (..., dim) along their last axis.

        Strangers average 0, the same picture gives 1. Numbers past the recogniser's own are
        not looked at. One pair gives an array without axes: `float()` makes a number of it.
        """
        dim = self.mean.shape[-1]
        cosine = np.sum(self._direction(a[..., :dim]) * self._direction(b[..., :dim]), axis=-1)
        return np.asarray((cosine - self.strangers) / (self.same - self.strangers))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        mean = [round(float(value), 5) for value in self.mean]
        return {"mean": mean, "strangers": float(self.strangers), "same": float(self.same)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """The calibration that `to_dict` described. Raises BadModel."""
        try:
            mean = np.asarray(data["mean"], dtype=np.float32)
            strangers, same = float(data["strangers"]), float(data.get("same", 1.0))
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise BadModel(f"the identity calibration cannot be read: {problem}") from problem
        if mean.ndim != 1 or not same > strangers:
            raise BadModel("the identity calibration does not hold a mean and strangers below same")
        return cls(mean, strangers, same)

    def _direction(self, vectors: np.ndarray) -> np.ndarray:
        return _unit(unit_rms(vectors) - self.mean)


class Recogniser(Protocol):
    """Whatever says how many numbers of its vectors are compared."""

    @property
    def compare_dim(self) -> int:
        """The recogniser's numbers: the first so many of each vector."""
        ...


def calibrate(encoder: Recogniser, vectors: np.ndarray, people: Sequence[Any]) -> Calibration:
    """The encoder's calibration from embeddings (n, dim) and who each shows.

    Every person counts the same in the mean, every pair of photos of two people in the
    strangers' cosine. Raises BadOption if there are fewer than two people.
    """
    names, index = np.unique(np.asarray(people), return_inverse=True)
    if len(names) < 2 or len(index) != len(vectors):
        raise BadOption(f"{len(vectors)} vectors of {len(names)} people; two people are needed")
    compared = unit_rms(np.asarray(vectors, dtype=np.float64)[:, : encoder.compare_dim])
    photos = np.bincount(index)[:, None]
    mean = (_sum_by(index, compared) / photos).mean(axis=0)
    directions = _unit(compared - mean)
    each = _sum_by(index, directions)  # (people, dim)
    total = (each.sum(axis=0) ** 2).sum() - (each**2).sum()  # all pairs less those of one person
    pairs = len(index) ** 2 - (photos**2).sum()
    return Calibration(mean.astype(np.float32), float(total / pairs))


def unit_rms(vectors: np.ndarray) -> np.ndarray:
    """Vectors (..., dim) brought to a root mean square of 1; zero vectors stay zero."""
    rms = np.sqrt(np.mean(np.square(vectors), axis=-1, keepdims=True))
    return np.asarray(vectors / np.where(rms > 0, rms, 1))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return unit_rms(vectors) / np.sqrt(vectors.shape[-1])


def _sum_by(index: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    sums = np.zeros((index.max() + 1, vectors.shape[-1]))
    np.add.at(sums, index, vectors)
    return sums
