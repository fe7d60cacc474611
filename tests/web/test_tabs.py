"""Mixing, several people, starting from a picture, comparing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from facestudio.pipeline.layout import lay_out
from facestudio.web.people import NOBODY, People
from facestudio.web.results import show_grid
from facestudio.web.session import NONE
from facestudio.web.studio import Plan, Variant
from facestudio.web.tabs import STRIP, Compare, Mixing, Start
from facestudio.web.wishes import Wishes
from tests.pipeline.conftest import PX

ONE = Wishes(count=1, seed="3", steps=2)


@pytest.fixture
def mixing(studio, ready, photo) -> Mixing:
    lower = replace(photo.face, points=photo.face.points + np.float32([0, 8]))
    ready.photos["other"] = replace(photo, faces=(lower,))
    return Mixing(studio)


@pytest.fixture
def scene(astronaut):
    """A picture with three faces."""
    row = Image.new("RGB", (900, 300))
    for i in range(3):
        row.paste(astronaut.crop((80, 0, 380, 300)), (300 * i, 0))
    return row


def problems(view):
    return [name for name, html in view.items() if name.startswith("problem:") and html]


def test_a_mix_is_between_both(mixing, ready):
    list(mixing.make(ready, ONE, 25))
    (variant,) = ready.results["mixing"]
    you, other = mixing.identity(ready), mixing.identity(ready, "other")
    wanted = you.mix(other, 0.25).embedding
    np.testing.assert_allclose(variant.plan.people.embedding, wanted)
    assert variant.plan.title == "25% the other"


def test_a_strip_goes_from_one_to_the_other_with_one_seed(mixing, ready, last):
    view = last(mixing.strip(ready, Wishes(count=4, seed="3", steps=2)))
    plans = [variant.plan for variant in ready.results["mixing"]]
    assert {plan.seed for plan in plans} == {3}
    assert len(plans) == len(STRIP) == view["cards:mixing"].count("<li>")
    np.testing.assert_allclose(plans[0].people.embedding, mixing.identity(ready).embedding)
    assert "strip" in view["cards:mixing"]


def test_a_mix_needs_the_other(studio, ready, last):
    assert problems(last(Mixing(studio).make(ready, ONE, 50))) == ["problem:photo-other"]


def test_start_from_a_picture(studio, ready):
    ready.start = Image.new("RGB", (64, 64), "navy")
    list(Start(studio).make(ready, ONE, 40))
    options = ready.results["start"][0].plan.options
    assert options["image"] is ready.start
    assert options["strength"] == 0.4


def test_start_needs_a_picture(studio, ready, last):
    assert problems(last(Start(studio).make(ready, ONE, 40))) == ["problem:start"]


def test_compare_is_a_table_of_one_seed(studio, ready, last):
    wishes = Wishes(words="a hat", seed="3")
    view = last(Compare(studio).make(ready, wishes, "0, 0.5 1", "2;4", "1, 2"))
    table = view["cards:compare"]
    assert table.count("<img") == 12
    assert table.count('scope="col"') == 3
    assert table.count('scope="row"') == 4
    assert "guidance 4, 2 steps" in table
    plans = [variant.plan for variant in ready.results["compare"]]
    assert {plan.seed for plan in plans} == {3}
    assert [plan.options["alpha"] for plan in plans[:3]] == [0, 0.5, 1]


def test_compare_without_words_has_no_dial(studio, ready, last):
    view = last(Compare(studio).make(ready, ONE, "not looked at", "2", "1, 2"))
    assert view["cards:compare"].count("<img") == 2
    assert "as given" in view["cards:compare"]


@pytest.mark.parametrize(
    ("texts", "field"),
    [
        (("0, x", "2", "2"), "alphas"),
        (("0, 2", "2", "2"), "alphas"),
        (("0", "", "2"), "guidances"),
        (("0", "51", "2"), "guidances"),
        (("0", "2", "1.5"), "stepses"),
        (("0", "2", "0"), "stepses"),
        (("0", "2", "1,2,3,4,5,6"), "stepses"),
        (("0,.2,.4,.6,1", "1,2,3", "1,2"), "make-compare"),
    ],
)
def test_compare_refuses_beside_the_field(studio, ready, last, texts, field):
    view = last(Compare(studio).make(ready, Wishes(words="a hat"), *texts))
    assert problems(view) == [f"problem:{field}"]
    assert "compare" not in ready.results


def test_cells_that_are_not_drawn_yet_stay_empty():
    assert show_grid([], ["a", "b"], ["one", "two"], ["row"]).count('class="missing"') == 2


def test_a_withheld_cell_says_so():
    plan = Plan(None, {}, 5)
    grey = Variant(plan, Image.new("RGB", (8, 8), "grey"), [None], b"", withheld=True)
    table = show_grid([grey], [plan], ["one"], ["row"])
    assert "content checker" in table
    assert "<img" not in table


def test_places_side_by_side_show_who_goes_where(studio, ready):
    view = People(studio).preview(ready, ["Your photo", "Person 2", NOBODY, NOBODY])
    assert view["count:places"] == 2
    assert view["scene"].count('class="place"') == 2
    assert view["scene"].count("<img") == 1
    assert "with a face: 1" in view["scene"]


def test_a_scene_gives_a_place_for_each_face(studio, ready, upload, uploads, scene):
    people = People(studio)
    view = people.take_scene(ready, upload(scene), uploads, [NOBODY, NOBODY, "Your photo"])
    assert view["count:places"] == 3
    assert "with a face: 3" in view["scene"]
    assert "Side by side" in view["scene-upload"]
    dropped = people.drop_scene(ready, [])
    assert dropped["count:places"] == 2
    assert "Side by side" not in dropped["scene-upload"]


@pytest.mark.parametrize("content", [b"words", Image.new("RGB", (200, 100), "teal")])
def test_a_scene_without_people_is_refused(studio, ready, upload, uploads, content):
    view = People(studio).take_scene(ready, upload(content), uploads, [])
    assert problems(view) == ["problem:scene"]
    assert ready.scene is None


def test_people_stand_where_they_were_put(studio, ready, upload, uploads, scene):
    people = People(studio)
    people.take_scene(ready, upload(scene), uploads, [])
    chosen = ["Your photo", NOBODY, "Your photo", NOBODY]
    list(people.make(ready, ONE, chosen))
    plan = ready.results["people"][0].plan
    left, _, right = people.places(ready)
    height, width, boxes = lay_out([left, right], studio.pipe.limits)
    assert plan.options["regions"] == boxes
    assert (plan.options["height"], plan.options["width"]) == (height, width) == (PX, 2 * PX)
    assert plan.options["style"] is ready.scene
    assert len(plan.people) == 2


def test_likeness_is_said_of_each_person(studio, ready, last):
    view = last(People(studio).make(ready, ONE, ["Your photo", "Your photo"]))
    assert " · " in view["cards:people"]
    assert ready.results["people"][0].image.size == (2 * PX, PX)


@pytest.mark.parametrize(
    ("chosen", "field"),
    [([NOBODY] * 4, "places"), (["Your photo", "Person 2"], "photo-second"), (["x"], "places")],
)
def test_people_are_asked_for(studio, ready, last, chosen, field):
    assert problems(last(People(studio).make(ready, ONE, chosen))) == [f"problem:{field}"]


def test_people_in_words_alone(studio, ready):
    ready.style = NONE
    wishes = Wishes(words="a man in a hat", count=1, steps=2)
    list(People(studio).make(ready, wishes, ["Your photo", NOBODY]))
    assert "style" not in ready.results["people"][0].plan.options
