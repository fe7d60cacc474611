"""Groups come from labels first, else from the photo; the worst one is named."""

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from facestudio.errors import BadOption
from facestudio.evaluation.groups import (
    GroupResult,
    judge_groups,
    label_people,
    see_groups,
    skin_tone,
    typology_angle,
    worst_ratio,
)
from facestudio.evaluation.measures import Estimate
from facestudio.evaluation.people import Person, groups_of, read_people

EYES = np.array([[40.0, 50.0], [74.0, 50.0]])


def result(reference: float, n: int) -> GroupResult:
    value = Estimate(reference, reference, reference, n)
    return GroupResult(value, value, value, value)


def test_labels_of_a_file_stand_in_for_the_sets(tmp_path, people_tar):
    path = tmp_path / "labels.json"
    path.write_text('{"p1": {"age": 70, "skin": "dark"}, "nobody": {"age": 3}}')
    people = {each.name: each.groups for each in label_people(read_people(people_tar), path)}
    assert people["p1"] == {"gender": "female", "age": "60 and over", "skin": "dark"}
    assert people["p0"] == {"gender": "male"}


@pytest.mark.parametrize("text", ["no json", "[1, 2]", '{"p1": 4}'])
def test_files_that_hold_no_labels_are_refused(tmp_path, people_tar, text):
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(BadOption, match="no labels"):
        label_people(read_people(people_tar), path)


def test_apparent_groups_where_nothing_is_labelled(people_tar, classifiers):
    people = read_people(people_tar)
    labelled, bare = people[0], Person("x", people[1].photos)
    known, seen = see_groups([labelled, bare], np.stack([EYES, EYES]), classifiers)
    assert known["gender"] in ("male", "female")
    assert "apparent gender" not in known
    assert seen["apparent gender"] in ("male", "female")
    assert seen["apparent age"] in ("under 18", "18 to 35", "36 to 59", "60 and over")
    assert seen["apparent skin"] in ("light", "medium", "dark")


def test_ethnicity_is_a_label_of_the_skin_too(people_tar, classifiers):
    person = Person("x", read_people(people_tar)[0].photos, {"ethnicity": "Asian"})
    assert see_groups([person], EYES[None], classifiers)[0].keys() == {
        "ethnicity", "apparent gender", "apparent age",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("colour", "tone"),
    [((240, 210, 190), "light"), ((200, 150, 120), "medium"), ((110, 70, 50), "dark")],
)
def test_tones_of_skin(colour, tone):
    assert skin_tone(Image.new("RGB", (112, 112), colour), EYES) == tone


def test_typology_angle_is_that_of_the_definition():
    pixels = np.full((3, 3, 3), (200, 150, 120), np.uint8)
    lightness, _, yellow = rgb2lab(pixels)[0, 0]
    wanted = np.degrees(np.arctan2(lightness - 50, yellow))
    assert typology_angle(pixels) == pytest.approx(wanted, abs=0.05)


def test_groups_have_the_figures_of_their_members():
    ones = np.ones(3)
    found = judge_groups(
        [{"gender": "male"}, {"gender": "male"}, {}], ones, np.array([0.2, 0.4, 9]), ones, ones
    )
    assert found.keys() == {"gender=male"}
    assert found["gender=male"].reference.mean == pytest.approx(0.3)
    assert found["gender=male"].reference.n == 2


def test_the_worst_of_the_large_groups():
    groups = {"a=1": result(0.5, 20), "a=2": result(0.3, 12), "b=1": result(0.1, 3)}
    assert worst_ratio(groups, 0.4, 10) == ("a=2", pytest.approx(0.75))
    assert worst_ratio(groups, 0.4, 100) == ("", None)
    assert worst_ratio(groups, 0.0, 10) == ("", None)


def test_labels_that_records_may_have():
    assert groups_of({"skin": "dark", "ethnicity": "Black", "gender": "male", "age": 17}) == {
        "gender": "male", "age": "under 18", "ethnicity": "Black", "skin": "dark",
    }  # fmt: skip
    assert groups_of({"skin": 3}) == {}
