"""Photos, shares and places as words on the command line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facestudio.cli.people import (
    Mix,
    Placed,
    check_people,
    parse_faces,
    parse_mix,
    parse_person,
    picture_paths,
)
from facestudio.errors import BadOption, BadRegion

fractions = st.floats(0, 1, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "mix"),
    [
        ("ben.jpg:0.3", Mix("ben.jpg", 0.3)),
        ("@ben:1", Mix("@ben", 1.0)),
        (r"C:\photos\ben.jpg:.5", Mix(r"C:\photos\ben.jpg", 0.5)),
    ],
)
def test_mix_is_a_photo_and_a_share(text, mix):
    assert parse_mix(text) == mix


@pytest.mark.parametrize("text", ["ben.jpg", "ben.jpg:", ":0.3", "ben.jpg:2", "b:-1", "b:nan", ""])
def test_mix_without_a_share_is_refused(text):
    with pytest.raises(BadOption, match="--mix"):
        parse_mix(text)


@pytest.mark.parametrize(
    ("texts", "first", "others"),
    [
        (["@anna"], "@anna", []),
        (["@anna:0.7", "@ben:0.3"], "@anna", [Mix("@ben", 0.3)]),
        (["@anna:2", "@ben:1", "c.jpg:1"], "@anna", [Mix("@ben", 0.25), Mix("c.jpg", 0.25)]),
        (["@anna", r"C:\ben.jpg"], "@anna", [Mix(r"C:\ben.jpg", 0.5)]),
        (["a:b.jpg:1"], "a:b.jpg", []),
    ],
)
def test_faces_are_mixed_by_their_shares(texts, first, others):
    assert parse_faces(texts) == ([first], others)


@pytest.mark.parametrize(
    "texts", [["@a:0.7", "@b"], ["@a:-1", "@b:2"], ["@a:0"], ["@a:nan"], ["@a:inf", "@b:1"]]
)
def test_shares_that_are_none_are_refused(texts):
    with pytest.raises(BadOption, match="--face"):
        parse_faces(texts)


@pytest.mark.parametrize("text", ["ben.jpg", "@ben", r"C:\ben.jpg", "a:b.jpg"])
def test_person_without_a_region(text):
    assert parse_person(text) == Placed(text)


def test_person_with_a_region():
    assert parse_person("a:b.jpg:0,0,.5,1") == Placed("a:b.jpg", (0, 0, 0.5, 1))


@given(st.tuples(fractions, fractions), st.tuples(fractions, fractions))
def test_every_box_inside_the_picture_is_read_back(xs, ys):
    (x0, x1), (y0, y1) = sorted(xs), sorted(ys)
    text = f"ben.jpg:{x0!r},{y0!r},{x1!r},{y1!r}"
    if x0 == x1 or y0 == y1:
        with pytest.raises(BadRegion, match="empty"):
            parse_person(text)
    else:
        assert parse_person(text) == Placed("ben.jpg", (x0, y0, x1, y1))


@pytest.mark.parametrize(
    "region", ["0,0,1", "0,0,1,1,1", "a,b,c,d", "0.5,0,0.2,1", "0,0,2,1", "-1,0,1,1", "0,0,nan,1"]
)
def test_regions_that_are_none_are_refused(region):
    with pytest.raises(BadRegion, match="region"):
        parse_person(f"ben.jpg:{region}")


def test_saved_people_are_no_files():
    assert picture_paths(["a.jpg", "@anna"]) == [Path("a.jpg")]


@pytest.mark.parametrize(
    ("words", "mixes", "placed"),
    [
        ([], [], []),
        (["a.jpg", "b.jpg"], [], []),
        (["a.jpg"], [Mix("b.jpg", 0.5), Mix("c.jpg", 0.5)], []),
        ([], [], [Placed("a.jpg"), Placed("b.jpg")]),
        ([], [], [Placed("a.jpg", (0, 0, 0.5, 1)), Placed("b.jpg", (0.5, 0, 1, 1))]),
    ],
)
def test_people_that_go_together(words, mixes, placed):
    check_people(words, mixes, placed)


@pytest.mark.parametrize(
    ("words", "mixes", "placed", "refusal"),
    [
        (["a.jpg"], [], [Placed("b.jpg")], BadOption),
        ([], [Mix("b.jpg", 0.5)], [Placed("b.jpg")], BadOption),
        ([], [Mix("b.jpg", 0.5)], [], BadOption),
        (["a.jpg"], [Mix("b.jpg", 0.6), Mix("c.jpg", 0.6)], [], BadOption),
        ([], [], [Placed("a.jpg"), Placed("b.jpg", (0, 0, 1, 1))], BadRegion),
    ],
)
def test_people_that_do_not(words, mixes, placed, refusal):
    with pytest.raises(refusal):
        check_people(words, mixes, placed)
