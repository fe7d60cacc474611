"""Which samples a batch holds: chosen by weight of their source, from a given random source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from facestudio.errors import BadOption


class WeightedPicker:
    """Draws indices of usable samples; a sample's chance is its source's weight (1 if not named)."""

    def __init__(
        self, usable: np.ndarray, sources: Sequence[str], weights: Mapping[str, float]
    ) -> None:
        self.indices = np.flatnonzero(usable)
        if unknown := sorted(set(weights) - set(sources)):
            raise BadOption(
                f"source_weights names {', '.join(unknown)}; the data has "
                f"{', '.join(sorted(set(sources)))}"
            )
        chances = np.array([weights.get(sources[i], 1.0) for i in self.indices])
        if not chances.sum() > 0:
            raise BadOption("no sample is left to train on; look at held_out and source_weights")
        self.cumulative = np.cumsum(chances) / chances.sum()

    def pick(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return `count` indices."""
        places = np.searchsorted(self.cumulative, rng.random(count), side="right")
        return self.indices[np.minimum(places, len(self.indices) - 1)]
