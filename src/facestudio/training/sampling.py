"""Which samples a batch holds: chosen by weight of their source, from a given random source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from facestudio.data.shards import PreparedSet
from facestudio.errors import BadOption, PictureError


class WeightedPicker:
    """Draws indices of usable samples; the chance is the source's weight, 1 if not named."""

    def __init__(
        self, usable: np.ndarray, sources: Sequence[str], weights: Mapping[str, float]
    ) -> None:
        self.indices = np.flatnonzero(usable)
        if unknown := sorted(set(weights) - set(sources)):
            raise BadOption(
                f"source_weights names {', '.join(unknown)}; the data has "
                f"{', '.join(sorted(set(sources)))}"
            )
        chances = np.array([weights.get(sources[i], 1.0) for i in self.indices.tolist()])
        if not chances.sum() > 0:
            raise BadOption("no sample is left to train on; look at held_out and source_weights")
        self.cumulative = np.cumsum(chances) / chances.sum()

    def pick(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return `count` indices."""
        places = np.searchsorted(self.cumulative, rng.random(count), side="right")
        return self.indices[np.minimum(places, len(self.indices) - 1)]


def make_picker(
    data: PreparedSet,
    held_out: Sequence[str],
    weights: Mapping[str, float] | None,
    *,
    captioned: bool = False,
) -> WeightedPicker:
    """Return the picker over samples outside the held-out splits, with captions if `captioned`."""
    usable = [
        record.get("split") not in held_out and (bool(record["captions"]) or not captioned)
        for record in data.records
    ]
    sources = [record["source"] for record in data.records]
    return WeightedPicker(np.array(usable), sources, weights or {})


def pick_pictures(
    data: PreparedSet, picker: WeightedPicker, rng: np.random.Generator, count: int
) -> tuple[list[int], list[np.ndarray]]:
    """Return `count` indices and their pictures; a damaged one is named, counted and replaced.

    Raises BadOption if hardly any picture can be read.
    """
    indices: list[int] = []
    pictures: list[np.ndarray] = []
    for _ in range(100 * count):
        index = int(picker.pick(rng, 1)[0])
        try:
            pictures.append(data.picture(index))
            indices.append(index)
        except PictureError as problem:
            data.leave_out(data.records[index]["key"], str(problem))
        if len(indices) == count:
            return indices, pictures
    raise BadOption(f"{len(data.damaged)} pictures of the set cannot be read; prepare it again")
