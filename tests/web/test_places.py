"""Room for everyone: a portrait of the model's own size in the middle of each place."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facestudio.faces.regions import Region
from facestudio.web.places import MAX_PORTRAITS, lay_out, side_by_side

SIDE, MULTIPLE, GRID = 128, 32, 8
PIPE = SimpleNamespace(
    limits=SimpleNamespace(height=SIDE, width=SIDE, multiple=MULTIPLE),
    codec=SimpleNamespace(factor=GRID),
)
IN_A_PHOTO = [(0.07, 0.35, 0.46, 1.0), (0.51, 0.29, 0.98, 1.0)]


def in_pixels(box, height, width):
    return tuple(edge * side for edge, side in zip(box, (width, height) * 2, strict=True))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_side_by_side_each_has_a_whole_picture(count):
    height, width, boxes = lay_out(side_by_side(count), PIPE)
    assert (height, width) == (SIDE, count * SIDE)
    for box, place in zip(boxes, side_by_side(count), strict=True):
        assert box == pytest.approx(place)


def test_people_stand_where_they_stand_in_the_scene():
    height, width, boxes = lay_out(IN_A_PHOTO, PIPE)
    assert (height, width) == (224, 352)
    for place, box in zip(IN_A_PHOTO, boxes, strict=True):
        middles = [((x0 + x1) / 2, (y0 + y1) / 2) for x0, y0, x1, y1 in (place, box)]
        assert middles[0] == pytest.approx(middles[1], abs=GRID / height)


def test_small_faces_in_a_crowd_stand_side_by_side():
    crowd = [(i / 4, 0.4, i / 4 + 0.05, 0.5) for i in range(4)]
    assert lay_out(crowd, PIPE) == lay_out(side_by_side(4), PIPE)


corners = st.tuples(*[st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0.05, 1), st.floats(0.05, 1)])
places = st.lists(corners, min_size=1, max_size=4)


@given(places)
def test_every_box_is_a_portrait_on_the_grid_inside_the_picture(corners):
    taken = [(x, y, min(x + w, 1.0), min(y + h, 1.0)) for x, y, w, h in corners]
    height, width, boxes = lay_out(taken, PIPE)
    assert height % MULTIPLE == width % MULTIPLE == 0
    assert height * width <= (MAX_PORTRAITS + 8) * SIDE**2
    for box in boxes:
        Region.of(box)
        left, top, right, bottom = in_pixels(box, height, width)
        assert (right - left, bottom - top) == pytest.approx((SIDE, SIDE))
        assert left % GRID == pytest.approx(0, abs=1e-6) or left % GRID == pytest.approx(GRID)
        assert top % GRID == pytest.approx(0, abs=1e-6) or top % GRID == pytest.approx(GRID)
