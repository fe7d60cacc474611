"""Room for several people: a portrait of the model's own size each, next to each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facestudio.errors import BadOption, BadRegion
from facestudio.faces.regions import Region, side_by_side
from facestudio.pipeline.layout import MAX_PORTRAITS, lay_out, settle
from facestudio.pipeline.request import Limits, Request
from tests.pipeline.conftest import TinyDetector, make_picture

SIDE, MULTIPLE, GRID = 128, 32, 8
PORTRAITS = Limits(MULTIPLE, SIDE, SIDE, 3.0, 2, 100, portrait=True, grid=GRID)
COUPLE = (None, None)
LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
EVEN = TinyDetector(0.25, 0.75)


def place(people=COUPLE, detector=EVEN, limits=PORTRAITS, most_px=4096, **options):
    return settle(Request(people=people, **options), limits, detector, most_px)


def in_pixels(box, height, width):
    return tuple(edge * side for edge, side in zip(box, (width, height) * 2, strict=True))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 13])
def test_side_by_side_each_has_a_whole_picture(count):
    height, width, boxes = lay_out(side_by_side(count), PORTRAITS)
    assert (height, width) == (SIDE, count * SIDE)
    assert boxes == side_by_side(count)


def test_who_stands_lower_in_the_scene_stands_lower():
    scene = [(0.1, 0.35, 0.45, 1.0), (0.5, 0.1, 1.0, 0.9)]
    height, width, boxes = lay_out(scene, PORTRAITS)
    assert (height, width) == (SIDE + 32, 2 * SIDE)
    assert [in_pixels(box, height, width)[:2] for box in boxes] == [(0, 32), (128, 0)]


def test_places_keep_their_order_and_their_own_box():
    _, _, boxes = lay_out([RIGHT, LEFT], PORTRAITS)
    assert boxes == [RIGHT, LEFT]


def test_one_above_the_other_go_side_by_side():
    height, width, _ = lay_out([(0, 0, 1, 0.5), (0, 0.5, 1, 1)], PORTRAITS)
    assert (height, width) == (SIDE + 32, 2 * SIDE)


def test_a_drop_that_would_be_too_high_is_left_out():
    assert lay_out([(0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1)], PORTRAITS, 256)[:2] == (160, 256)
    assert lay_out([(0, 0, 0.5, 0.5), (0.5, 0.5, 1, 1)], PORTRAITS, 128)[0] == SIDE


corners = st.tuples(*[st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.05, 1), st.floats(0.05, 1)])


@given(st.lists(corners, min_size=1, max_size=4))
def test_every_box_is_a_portrait_of_its_own_inside_the_picture(corners):
    taken = [(x, y, min(x + w, 1.0), min(y + h, 1.0)) for x, y, w, h in corners]
    height, width, boxes = lay_out(taken, PORTRAITS)
    assert height % MULTIPLE == width % MULTIPLE == 0
    for box in boxes:
        Region.of(box)
        left, top, right, bottom = in_pixels(box, height, width)
        assert (right - left, bottom - top) == pytest.approx((SIDE, SIDE))
        assert left / SIDE == pytest.approx(round(left / SIDE))
    assert len({box[0] for box in boxes}) == len(boxes)


@pytest.mark.parametrize(
    "options",
    [{"prompt": "a hat"}, {"style": make_picture(1, 96, 64)}, {"image": make_picture(1, 96, 64)}],
)
def test_two_people_without_a_size_get_two_portraits(options):
    request = place(**options)
    assert request.frame == (SIDE, 2 * SIDE)
    assert request.regions == (LEFT, RIGHT)


def test_a_style_picture_without_people_puts_them_side_by_side():
    assert place(detector=TinyDetector(), style=make_picture()).regions == (LEFT, RIGHT)


def test_a_picture_to_start_from_must_show_as_many_people():
    for options in ({"image": make_picture()}, {"style": make_picture(), "background": "fixed"}):
        with pytest.raises(BadRegion, match="1 faces found"):
            place(detector=TinyDetector(0.5), **options)


def test_a_fixed_background_keeps_its_shape_and_faces_get_portraits():
    request = place(style=make_picture(1, 400, 200), background="fixed")
    height, width = request.frame
    assert width == 2 * height
    assert height * width <= MAX_PORTRAITS * SIDE**2
    for box, middle in zip(request.regions, (0.25, 0.75), strict=True):
        left, top, right, bottom = in_pixels(box, height, width)
        assert (right - left, bottom - top) == (SIDE, SIDE)
        assert (left % GRID, top % GRID) == (0, 0)
        assert (left + right) / 2 == pytest.approx(middle * width, abs=GRID)


def test_regions_stay_and_get_a_picture_in_which_a_portrait_fits():
    request = place(prompt="a hat", regions=(LEFT, RIGHT))
    assert request.frame == (SIDE, 2 * SIDE)
    assert request.regions == (LEFT, RIGHT)
    masks = np.zeros((2, 8, 8), bool)
    masks[0, :4], masks[1, 4:] = True, True
    assert place(prompt="a hat", regions=tuple(masks)).frame == (2 * SIDE, SIDE)


def test_small_regions_do_not_make_a_huge_picture():
    small = ((0.0, 0.0, 0.02, 0.02), (0.5, 0.5, 0.52, 0.52))
    height, width = place(prompt="a hat", regions=small).frame
    assert height * width <= (MAX_PORTRAITS + 2) * SIDE**2
    assert max(place(prompt="a hat", regions=small, most_px=200).frame) <= 200


@pytest.mark.parametrize(
    ("options", "frame"),
    [
        ({"height": 64}, (64, SIDE)),
        ({"width": 64}, (SIDE, 64)),
        ({"people": (None,)}, (SIDE, SIDE)),
        ({"people": (None,), "regions": ((0, 0, 0.5, 0.5),)}, (SIDE, SIDE)),
        ({"limits": replace(PORTRAITS, portrait=False)}, (SIDE, SIDE)),
    ],
)
def test_a_given_size_one_person_and_other_models_stay_as_they_are(options, frame):
    assert place(**options, prompt="a hat").frame == frame


def test_without_a_detector_no_picture_is_opened():
    request = place(detector=None, style="nowhere.png")
    assert request.frame == (SIDE, 2 * SIDE)


def test_what_is_wrong_is_said_before_a_picture_is_opened():
    with pytest.raises(BadOption, match="alpha=2"):
        place(style="nowhere.png", alpha=2)
    with pytest.raises(BadRegion, match="outside"):
        place(prompt="a hat", regions=((0, 0, 2, 1), RIGHT))
