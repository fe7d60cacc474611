"""What a model of this kind should reach, and where one that was evaluated stands."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """A figure that is to be reached: `least`, and `aim` as the best there could be.

    lower: the figure must be under it instead.
    """

    key: str
    what: str
    least: float
    aim: float | None = None
    lower: bool = False

    def reached(self, value: float | None) -> bool | None:
        """Whether the figure is good enough; None where it is not known."""
        if value is None or math.isnan(value):
            return None
        return value < self.least if self.lower else value >= self.least


BARS = (
    Bar("reference_photographic", "likeness to the reference, photographic", 0.35, 0.60),
    Bar("other_photographic", "likeness to another photo, photographic", 0.28, 0.50),
    Bar("reference_drawn", "likeness to the reference, drawn", 0.22, 0.45),
    Bar("rank1", "rank-1 among all people of the set, by another photo", 0.60, 0.95),
    Bar("without_identity", "likeness without the identity", 0.08, lower=True),
    Bar("face_found", "a face found in the output", 0.98, 0.999),
    Bar("style_of_picture", "style of the style picture recognised", 0.85, 0.97),
    Bar("style_of_prompt", "style named by the prompt recognised", 0.75, 0.95),
    Bar("attributes_points", "attributes asked for found, points over their base", 25, 60),
    Bar("two_people", "two people on one canvas, each nearest to the own reference", 0.90, 0.99),
    Bar("sharpness_ratio", "sharpness against real pictures of the style", 0.6, 1.0),
    Bar("worst_group_ratio", "the worst group's likeness over the mean", 0.75, 0.95),
    Bar("model_mb", "size of the model in MB", 90, 45, lower=True),
    Bar("warm_seconds", "seconds for one warm picture", 0.8, 0.2, lower=True),
)
