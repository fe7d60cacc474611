"""Crops from eyes: known places, and what lies outside the picture."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from facestudio.errors import BadOption
from facestudio.faces.align import (
    ARCFACE_EYES,
    ARCFACE_POINTS,
    align_face,
    align_points,
    align_portrait,
    face_mask,
    hide_face,
)

coordinates = st.floats(20, 180)
eye_pairs = st.tuples(*[coordinates] * 4).map(lambda v: np.array(v).reshape(2, 2))
apart = eye_pairs.filter(lambda eyes: np.linalg.norm(eyes[1] - eyes[0]) > 10)


def dot(size, place, radius):
    """A black picture with a white disc."""
    image = Image.new("RGB", size)
    x, y = place
    ImageDraw.Draw(image).ellipse((x - radius, y - radius, x + radius, y + radius), "white")
    return image


def centre_of(pixels):
    weight = pixels[..., 0].astype(float)
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]] + 0.5
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("size", [112, 224])
@pytest.mark.parametrize("eyes", [[[40, 60], [90, 50]], [[300, 200], [520, 260]]])
def test_eyes_land_on_the_template(eyes, size):
    eyes = np.array(eyes, float)
    for eye, place in zip(eyes, ARCFACE_EYES * size, strict=True):
        radius = np.linalg.norm(eyes[1] - eyes[0]) / 20
        crop = align_face(dot((640, 480), eye, radius), eyes, size)
        assert (crop.dtype, crop.shape) == (np.uint8, (size, size, 3))
        assert np.abs(centre_of(crop) - place).max() < 1


def test_a_crop_of_its_own_scale_is_the_picture():
    picture = np.random.default_rng(0).integers(0, 255, (112, 112, 3), np.uint8)
    crop = align_face(Image.fromarray(picture), ARCFACE_EYES * 112)
    assert np.abs(crop.astype(int) - picture).max() <= 1


def test_a_much_smaller_crop_averages(rng):
    noise = rng.integers(0, 255, (800, 800, 3), np.uint8)  # standard deviation 74
    crop = align_face(Image.fromarray(noise), ARCFACE_EYES * 800)  # a seventh of the size
    assert crop.std() < 20


@given(apart)
def test_points_follow_their_similarity(eyes):
    moved = align_points(ARCFACE_POINTS, ARCFACE_POINTS[:2], eyes)
    assert np.allclose(moved[:2], eyes)
    back = align_points(moved, eyes, ARCFACE_POINTS[:2])
    assert np.allclose(back, ARCFACE_POINTS, atol=1e-6)


def test_portrait_is_laid_out_like_celeba():
    eyes = np.array([[200.0, 210], [260, 190]])
    for eye, place in zip(eyes, [(48, 60.8), (80, 60.8)], strict=True):
        portrait = align_portrait(dot((400, 400), eye, 5), eyes, 128)
        assert portrait.size == (128, 128)
        assert np.abs(centre_of(np.asarray(portrait)) - place).max() < 0.7


@given(apart, st.integers(8, 64))
def test_portraits_have_no_empty_corner(eyes, px):
    white = Image.new("RGB", (200, 200), "white")
    portrait = align_portrait(white, eyes, px)
    assert portrait.size == (px, px)
    assert np.asarray(portrait).min() > 250


def test_a_portrait_inside_the_picture_is_not_blurred(gradient):
    eyes = np.array([[180.0, 195], [220, 195]])  # the square is then (120, 119)-(280, 279)
    portrait = align_portrait(gradient(400, 400), eyes, 160)
    wanted = np.asarray(gradient(400, 400).crop((120, 119, 280, 279)), int)
    assert np.abs(np.asarray(portrait, int) - wanted).max() <= 1


@pytest.mark.parametrize("eyes", [[[5, 5], [5, 5]], [[np.nan, 0], [1, 1]]])
def test_eyes_must_be_two_points(gradient, eyes):
    with pytest.raises(BadOption):
        align_face(gradient(20, 20), np.array(eyes, float))


def test_face_mask_covers_brow_to_chin_and_temple_to_temple():
    eyes = np.array([[80.0, 100], [120, 100]])  # 40 apart, middle (100, 100)
    mask = face_mask(200, 200, eyes)
    assert (mask.shape, mask.dtype) == ((200, 200), np.dtype(bool))
    for x, y in [(100, 70), (66, 86), (134, 86), (54, 100), (146, 100), (100, 178), (68, 155)]:
        assert mask[y, x]
    for x, y in [(100, 50), (30, 100), (170, 100), (100, 195), (60, 180)]:
        assert not mask[y, x]


def test_face_mask_turns_and_grows_with_the_face():
    upright = face_mask(200, 200, np.array([[80.0, 100], [120, 100]]))
    turned = face_mask(200, 200, np.array([[100.0, 80], [100, 120]]))  # right cheek down
    assert (np.rot90(upright, -1) == turned).mean() > 0.99
    larger = face_mask(200, 200, np.array([[80.0, 100], [120, 100]]), margin=1.2)
    assert (larger | ~upright).all()
    assert larger.sum() / upright.sum() == pytest.approx(1.44, rel=0.02)
    with pytest.raises(BadOption):
        face_mask(20, 20, np.zeros((2, 2)))


def test_hide_face_paints_the_mask_only(gradient):
    image, eyes = gradient(200, 200), np.array([[80.0, 100], [120, 100]])
    hidden = np.asarray(hide_face(image, eyes, 1.1))
    mask = face_mask(200, 200, eyes, 1.1)
    assert (hidden[mask] == 127).all()
    assert (hidden[~mask] == np.asarray(image)[~mask]).all()
    assert (np.asarray(image) == np.asarray(gradient(200, 200))).all()
