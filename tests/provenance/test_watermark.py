"""The invisible mark: found where it is, not where it is not, and not to be seen."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image, ImageOps

from facestudio.provenance.watermark import (
    KEY,
    MIN_PX,
    THRESHOLD,
    WANTED,
    Watermark,
    _signs,
    add_watermark,
    find_watermark,
    watermark_of,
)

MINI, FULL = (128, 128), (512, 512)


def jpeg(picture: Image.Image, quality: int = 80) -> Image.Image:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def shrink(picture: Image.Image, share: float = 0.75) -> Image.Image:
    return picture.resize((round(picture.width * share), round(picture.height * share)))


def distance_db(a: Image.Image, b: Image.Image) -> float:
    """The peak signal-to-noise ratio."""
    error = np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2)
    return 10 * math.log10(255**2 / error)


@pytest.fixture(params=[MINI, FULL, (200, 120)], ids=str)
def picture(request, astronaut) -> Image.Image:
    return astronaut.resize(request.param, Image.Resampling.LANCZOS)


def test_found_where_it_is_and_only_there(picture):
    assert not find_watermark(picture).found
    assert find_watermark(add_watermark(picture)).found


@pytest.mark.parametrize(
    "damage",
    [
        lambda picture: shrink(jpeg(picture)),
        lambda picture: jpeg(shrink(picture)),
        lambda picture: jpeg(picture, 60),
        lambda picture: picture.resize((300, 300)),
        lambda picture: picture.convert("L"),
    ],
    ids=["jpeg-shrink", "shrink-jpeg", "jpeg-60", "300px", "grey"],
)
def test_found_after_damage(picture, damage):
    assert find_watermark(damage(add_watermark(picture))).found


def test_not_to_be_seen(picture):
    marked = add_watermark(picture)
    assert marked.size == picture.size
    assert distance_db(picture, marked) > 41
    assert np.abs(watermark_of(picture)).max() < 12


def test_another_key_finds_nothing(picture):
    marked = add_watermark(picture, "somebody's key")
    assert not find_watermark(marked).found
    assert find_watermark(marked, "somebody's key").found


def test_chance_alone_scores_as_a_normal_number_does(astronaut):
    """The key is the random part: over many keys, one picture's scores are as N(0, 1)."""
    mini = astronaut.resize(MINI)
    scores = np.array([find_watermark(mini, f"key {number}").score for number in range(400)])
    assert abs(scores.mean()) < 0.15
    assert scores.std() == pytest.approx(1, abs=0.1)
    assert scores.max() < THRESHOLD


def test_the_bound_on_false_alarms():
    assert Watermark(0.0).chance == 1
    assert Watermark(-3.0).chance == 1
    assert Watermark(THRESHOLD).chance == pytest.approx(math.exp(-8))
    assert Watermark(THRESHOLD).chance < 0.01
    assert not Watermark(THRESHOLD).found


def test_the_same_picture_gets_the_same_mark(picture):
    np.testing.assert_array_equal(watermark_of(picture), watermark_of(picture.copy()))


def test_the_default_keys_pattern_never_changes():
    """Pictures of yesterday must be found tomorrow."""
    first = [1, 1, -1, 1, 1, 1, -1, -1, 1, 1, -1, 1, -1, 1, 1, -1]
    pattern = _signs(KEY)
    assert pattern.shape == (1840,)
    assert pattern[:16].tolist() == first


@pytest.mark.parametrize("colour", ["grey", "white", "black", (200, 30, 40)])
def test_pictures_of_one_colour(colour):
    assert find_watermark(add_watermark(Image.new("RGB", MINI, colour))).found


def ink(picture: Image.Image) -> Image.Image:
    return picture.convert("L").point(lambda level: 255 * (level > 110)).convert("RGB")


@pytest.mark.parametrize("size", [MINI, FULL], ids=str)
@pytest.mark.parametrize("draw", [lambda picture: ImageOps.posterize(picture, 1), ink])
def test_black_and_white_and_loud_colours(astronaut, draw, size):
    """Where black and white cut half of the mark off, and JPEG most of the rest, it is stronger."""
    marked = add_watermark(draw(astronaut.resize(size, Image.Resampling.LANCZOS)))
    assert find_watermark(marked).found
    assert find_watermark(shrink(jpeg(marked))).found
    assert find_watermark(jpeg(shrink(marked))).found


def test_a_photo_gets_no_more_than_it_needs(picture):
    survivor = jpeg(shrink(add_watermark(picture)))
    assert WANTED - 1 < find_watermark(survivor).score < WANTED + 3


def test_small_pictures_stay_as_they_are(rng):
    small = Image.fromarray(rng.integers(0, 255, (MIN_PX - 1, 200, 3), np.uint8))
    np.testing.assert_array_equal(np.asarray(add_watermark(small)), np.asarray(small))


def test_a_blank_picture_scores_nothing():
    assert find_watermark(Image.new("RGB", MINI)) == Watermark(pytest.approx(0, abs=1))


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_other_modes_are_read(astronaut, mode):
    assert find_watermark(add_watermark(astronaut.convert(mode)).convert(mode)).found
