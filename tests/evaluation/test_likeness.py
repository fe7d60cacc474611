"""Averages over conditions count each person once; a model's bars follow from them."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from facestudio.evaluation.bars import BARS, Bar
from facestudio.evaluation.likeness import person_means, sort_conditions
from facestudio.evaluation.measures import NOTHING, Estimate
from facestudio.evaluation.outputs import list_conditions
from facestudio.evaluation.plots import draw_bars
from facestudio.evaluation.settings import SeedSettings, StyleSettings, WordSettings


def test_people_without_values_in_some_conditions_still_count():
    means = person_means([np.array([1.0, 0.0, 0.5]), np.array([0.0, 0.0])])
    assert means.tolist() == [0.5, 0.0, 0.5]
    assert np.isnan(person_means([np.array([np.nan, 1.0])])[0])


def test_what_belongs_to_which_average(settings):
    asked = dataclasses.replace(
        settings,
        own_style=True,
        style=StyleSettings(pictures=("photo", "ink"), prompts={"oil": "an oil painting"}),
        words=WordSettings({"smiling": "a smiling man"}),
        seeds=SeedSettings(n_seeds=2),
    )
    found = sort_conditions(list_conditions(asked))
    assert {name: [each.name for each in members] for name, members in found.items()} == {
        "photographic": ["prompt-0", "shown-photo"],
        "drawn": ["shown-ink", "named-oil"],
        "without_identity": ["prompt-0-nobody"],
    }
    assert sort_conditions([]) == {}


@pytest.mark.parametrize(
    ("bar", "value", "reached"),
    [(Bar("a", "", 0.5), 0.5, True), (Bar("a", "", 0.5), 0.49, False),
     (Bar("a", "", 0.5, lower=True), 0.4, True), (Bar("a", "", 0.5, lower=True), 0.5, False),
     (Bar("a", "", 0.5), None, None), (Bar("a", "", 0.5), float("nan"), None)],
)  # fmt: skip
def test_bars_are_reached_or_not(bar, value, reached):
    assert bar.reached(value) is reached


def test_bars_have_keys_of_their_own():
    assert len({bar.key for bar in BARS}) == len(BARS) == 14
    assert all(bar.aim is None or (bar.aim < bar.least) == bar.lower for bar in BARS)


def test_bars_are_as_long_as_their_figures():
    rows = [("long", Estimate(0.8, 0.7, 0.9, 5), "#0000ff"), ("none", NOTHING, "#0000ff"),
            ("short", Estimate(0.2, 0.1, 0.3, 5), "#0000ff")]  # fmt: skip
    picture = np.asarray(draw_bars(rows, "likeness", [("ceiling", 0.66)]))
    blue = (picture == (0, 0, 255)).all(-1)
    lengths = [blue[34 + 22 * row : 56 + 22 * row].any(0).sum() for row in range(3)]
    assert lengths[1] == 0
    assert lengths[0] == pytest.approx(4 * lengths[2], abs=6)
    assert isinstance(draw_bars([], "nothing", []), Image.Image)
