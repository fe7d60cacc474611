"""Regions: boxes and masks to exclusive masks, whatever the order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from facestudio.errors import BadOption, BadRegion
from facestudio.faces.regions import Region, downsample_masks, find_regions, regions_to_masks

fractions = st.integers(0, 16).map(lambda v: v / 16)
boxes = st.tuples(fractions, fractions, fractions, fractions).filter(
    lambda box: box[0] < box[2] and box[1] < box[3]
)
sizes = st.integers(3, 24)


def masks_of(*regions, size=(8, 8)):
    return regions_to_masks([Region.of(region) for region in regions], *size)


def test_two_halves():
    masks = masks_of((0, 0, 0.5, 1), (0.5, 0, 1, 1), size=(2, 4))
    assert masks.dtype == np.float32
    assert masks.tolist() == [[[1, 1, 0, 0]] * 2, [[0, 0, 1, 1]] * 2]


def test_one_full_region_and_none():
    assert (masks_of((0, 0, 1, 1)) == 1).all()
    assert regions_to_masks([], 4, 6).shape == (0, 4, 6)


def test_an_overlap_goes_to_the_nearest_centre():
    left, right = masks_of((0, 0, 0.75, 1), (0.25, 0, 1, 1), size=(2, 8))
    assert left[0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert right[0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_equal_distance_goes_to_the_smaller_then_the_left():
    outer, inner = masks_of((0, 0, 1, 1), (0.25, 0.25, 0.75, 0.75))
    assert inner.sum() == 16
    assert outer.sum() == 64 - 16
    left, right = masks_of((0, 0, 0.75, 1), (0.25, 0, 1, 1), size=(1, 9))
    assert left[0, 4] == 1
    assert right[0, 4] == 0


@given(st.lists(boxes, min_size=1, max_size=4, unique=True), sizes, sizes, st.randoms())
def test_masks_are_exclusive_and_order_does_not_matter(regions, height, width, random):
    try:
        masks = masks_of(*regions, size=(height, width))
    except BadRegion:
        assume(False)
    assert set(np.unique(masks)) <= {0, 1}
    assert masks.sum(0).max() <= 1
    union = np.any([Region.of(r).covers(height, width) for r in regions], axis=0)
    assert (masks.any(0) == union).all()
    order = list(range(len(regions)))
    random.shuffle(order)
    shuffled = masks_of(*[regions[i] for i in order], size=(height, width))
    assert (shuffled == masks[order]).all()


@pytest.mark.parametrize(
    "value",
    [
        (0.5, 0, 0.5, 1),
        (0.6, 0, 0.5, 1),
        (0, 0.5, 1, 0.2),
        (-0.1, 0, 1, 1),
        (0, 0, 1.2, 1),
        (0, 0, float("nan"), 1),
        (0, 0, 1),
        "0,0,1",
        "left",
        "",
        None,
        (10, 10, 200, 200),
        np.zeros((4, 4), bool),
    ],
)
def test_bad_regions(value):
    with pytest.raises(BadRegion) as caught:
        Region.of(value)
    assert caught.value.exit_code == 2


def test_a_region_is_one_of_two_things():
    for arguments in ({}, {"box": (0, 0, 1, 1), "mask": np.ones((2, 2), bool)}):
        with pytest.raises(BadRegion):
            Region(**arguments)


def test_text_and_regions_are_read():
    region = Region.of("0, 0.25, .5,1")
    assert region.box == (0, 0.25, 0.5, 1)
    assert Region.of(region) is region


def test_the_same_region_twice_is_refused():
    with pytest.raises(BadRegion, match="regions 1 and 3 are the same"):
        masks_of((0, 0, 0.5, 1), (0.5, 0, 1, 1), (0, 0, 0.5, 1))
    mask = np.eye(4, dtype=bool)
    with pytest.raises(BadRegion, match="same"):
        masks_of(mask, mask.copy())


def test_a_region_without_a_position_is_refused():
    with pytest.raises(BadRegion, match="region 2"):
        masks_of((0, 0, 0.5, 1), (0.9, 0.9, 0.91, 0.91))


def test_masks_as_regions():
    triangle = np.tri(8, dtype=bool)
    lower, upper = masks_of(triangle, ~triangle)
    assert (lower == triangle).all()
    assert (upper == ~triangle).all()
    assert Region.of(triangle).bounds() == (0, 0, 1, 1)
    assert Region.of(np.eye(4) * [0, 1, 1, 0]).bounds() == (0.25, 0.25, 0.75, 0.75)
    larger = masks_of(triangle, ~triangle, size=(16, 16))
    assert (larger[0] == np.kron(triangle, np.ones((2, 2)))).all()


def test_downsampling_takes_the_majority():
    mask = np.zeros((1, 4, 4), np.float32)
    mask[0, :2, :2] = 1
    mask[0, 2, 2] = 1
    assert downsample_masks(mask, 2, 2).tolist() == [[[1, 0], [0, 0]]]


@given(st.lists(boxes, min_size=2, max_size=3, unique=True), sizes, sizes, sizes, sizes)
def test_downsampling_stays_exclusive(regions, height, width, new_height, new_width):
    try:
        masks = masks_of(*regions, size=(height, width))
    except BadRegion:
        assume(False)
    small = downsample_masks(masks, new_height, new_width)
    assert small.shape == (len(regions), new_height, new_width)
    assert small.dtype == np.float32
    assert small.sum(0).max() <= 1
    if (height, width) == (new_height, new_width):
        assert (small == masks).all()
    if masks.sum(0).all():
        assert small.sum(0).all()


def test_downsampling_to_nothing():
    with pytest.raises(BadOption):
        downsample_masks(np.ones((1, 4, 4)), 0, 4)


def test_people_found_left_to_right(gradient, given_faces, make_face):
    faces = [make_face(150, 60, 40), make_face(60, 40, 40), make_face(300, 10, 12)]
    left, right = find_regions(gradient(400, 200), given_faces(faces), 2)
    assert left[2] == right[0] == pytest.approx((80 + 170) / 2 / 400)
    assert left[0] < 60 / 400 < 100 / 400 < left[2]
    assert right[0] < 150 / 400 < 190 / 400 < right[2]
    assert left[1] < 40 / 200
    assert left[3] > 80 / 200
    assert masks_of(left, right, size=(16, 32)).any((1, 2)).all()


def test_people_above_each_other(gradient, given_faces, make_face):
    faces = [make_face(50, 10, 30), make_face(52, 80, 30)]
    upper, lower = find_regions(gradient(130, 200), given_faces(faces), 2)
    assert upper[3] == lower[1] == pytest.approx(60 / 200)


def test_too_few_faces(gradient, given_faces, make_face):
    with pytest.raises(BadRegion, match="1 faces found in the picture; 2 people") as caught:
        find_regions(gradient(100, 100), given_faces([make_face(0, 0, 50)]), 2)
    assert "fractions" in caught.value.hint


def test_regions_in_a_real_picture(astronaut, detector):
    ((left, top, right, bottom),) = find_regions(astronaut, detector, 1)
    assert left < 0.34 < 0.55 < right
    assert top < 0.16
    assert 0.5 < bottom < 0.9
