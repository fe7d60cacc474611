"""Looks keep the person in place, are what their names say, and are the same by the same chance."""

import time

import numpy as np
import pytest
from PIL import Image
from skimage import data

from facestudio.data import brushes
from facestudio.data.drawing import STYLE_WORDS, STYLES

GREY = ("pencil", "ink", "line_art")
TWO_INKS = ("halftone", "engraving", "charcoal", "chalk", "sepia", "duotone")


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    face = Image.fromarray(data.astronaut()).crop((140, 30, 320, 210))
    return np.asarray(face.resize((128, 128), Image.Resampling.LANCZOS))


def draw(look: str, photo: np.ndarray, seed: int = 0) -> np.ndarray:
    return STYLES[look](photo, np.random.default_rng(seed))


def tone(picture: np.ndarray) -> np.ndarray:
    return brushes.tone_of(picture.astype(np.float32) / 255)


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of the brightness of two pictures, coarse enough for dots and hatching."""
    small = [brushes.blur(tone(each), 2.5)[32:96, 32:96].ravel() for each in (a, b)]
    return float(np.corrcoef(*small)[0, 1])


@pytest.mark.parametrize("look", STYLES)
def test_a_look_is_a_picture_of_the_same_size(look, photo):
    before = photo.copy()
    drawn = draw(look, photo)
    assert drawn.shape == photo.shape
    assert drawn.dtype == np.uint8
    assert np.array_equal(photo, before), "the photo itself is left alone"
    assert drawn.std() > 20, "there is something on the paper"
    assert not np.array_equal(drawn, photo)


@pytest.mark.parametrize("look", sorted(set(STYLES) - {"line_art", "pop_art"}))
def test_light_and_dark_of_the_face_stay_where_they_were(look, photo):
    assert likeness(draw(look, photo), photo) > 0.6


def test_lines_stand_where_the_photo_changes(photo):
    lines = 255 - draw("line_art", photo)[..., 0].astype(np.float32)
    edges = np.hypot(*np.gradient(brushes.blur(tone(photo), 1)))
    inside = np.s_[32:96, 32:96]
    strong = edges[inside] > np.percentile(edges[inside], 85)
    assert lines[inside][strong].mean() > 3 * lines[inside][~strong].mean()


@pytest.mark.parametrize("look", STYLES)
def test_the_same_chance_gives_the_same_drawing(look, photo):
    assert np.array_equal(draw(look, photo, 3), draw(look, photo, 3))


@pytest.mark.parametrize("look", [name for name in STYLES if name not in ("duotone", "poster")])
def test_another_chance_gives_another_drawing(look, photo):
    drawings = [draw(look, photo, seed) for seed in range(4)]
    assert any(not np.array_equal(drawings[0], other) for other in drawings[1:])


@pytest.mark.parametrize("look", STYLES)
@pytest.mark.parametrize("size", [(64, 64), (48, 80), (97, 65)])
def test_other_sizes_are_drawn_too(look, size, photo):
    small = np.asarray(Image.fromarray(photo).resize((size[1], size[0])))
    assert draw(look, small).shape == (*size, 3)


@pytest.mark.parametrize("shade", [0, 255])
@pytest.mark.parametrize("look", STYLES)
def test_plain_pictures_are_no_trouble(look, shade):
    plain = np.full((32, 32, 3), shade, np.uint8)
    assert draw(look, plain).shape == plain.shape


@pytest.mark.parametrize("look", GREY)
def test_grey_looks_are_grey_on_bright_paper(look, photo):
    drawn = draw(look, photo).astype(int)
    assert np.ptp(drawn, axis=-1).max() <= 6
    assert np.percentile(drawn, 95) > 230


@pytest.mark.parametrize("look", TWO_INKS)
def test_prints_have_few_hues(look, photo):
    flat = draw(look, photo).reshape(-1, 3).astype(np.float64)
    _, spread, _ = np.linalg.svd(flat - flat.mean(0), full_matrices=False)
    assert spread[1] < 0.2 * spread[0], "all colours lie on one line"


def test_posters_and_pixels_have_few_colours(photo):
    counts = {}
    for look in ("poster", "pixel_art"):
        coarse = draw(look, photo).reshape(-1, 3) // 16
        _, each = np.unique(coarse, axis=0, return_counts=True)
        counts[look] = np.sort(each)[::-1]
    assert counts["poster"][:4].sum() > 0.75 * 128 * 128
    assert len(counts["pixel_art"]) <= 16


def test_cartoons_are_flatter_and_more_colourful_than_photos(photo):
    drawn = draw("cartoon", photo)
    assert np.ptp(drawn.astype(int), axis=-1).mean() > np.ptp(photo.astype(int), axis=-1).mean()


def test_looks_are_quick(photo):
    for look in STYLES:
        started = time.process_time()
        draw(look, photo)
        assert time.process_time() - started < 0.15, look  # 15 ms on a quiet machine


def test_every_look_has_words():
    assert STYLE_WORDS.keys() == STYLES.keys()
    assert all(words for words in STYLE_WORDS.values())
    known = [word for words in STYLE_WORDS.values() for word in words]
    assert len(known) == len(set(known))


# --- brushes ---------------------------------------------------------------------------------


def test_blur_keeps_the_mean_and_plain_areas():
    plain = np.full((20, 30), 0.4, np.float32)
    assert np.allclose(brushes.blur(plain, 3), 0.4, atol=1e-5)
    spot = np.zeros((128, 128), np.float32)
    spot[64, 64] = 1
    soft = brushes.blur(spot, 2)
    assert soft.sum() == pytest.approx(1, abs=1e-4)
    assert soft.argmax() == 64 * 128 + 64


def test_blur_grows_with_the_picture():
    small, large = np.zeros((128, 128), np.float32), np.zeros((256, 256), np.float32)
    small[:64], large[:128] = 1, 1
    narrow, wide = (brushes.blur(x, 3)[:, 5] for x in (small, large))
    assert np.allclose(narrow, wide[::2], atol=0.1)


def test_flatten_keeps_an_edge_and_takes_the_noise():
    rng = np.random.default_rng(0)
    image = np.zeros((64, 64, 3), np.float32)
    image[:, 32:] = 1
    noisy = np.clip(image + 0.1 * rng.standard_normal(image.shape), -1, 2).astype(np.float32)
    flat = brushes.flatten(noisy, 4)
    assert flat[:, 40:60].std() < 0.6 * noisy[:, 40:60].std()
    assert np.abs(flat[:, 26:30]).mean() < 0.15
    assert flat[:, 36:40].mean() > 0.85


def test_step_and_levels():
    ramp = np.linspace(0, 1, 5, dtype=np.float32)[None]
    assert brushes.step(ramp, 0.5, 0.1).tolist() == [[0, 0, 0.5, 1, 1]]
    assert np.allclose(brushes.levels_of(ramp, (0.3, 0.6)), [[0, 0, 0.5, 1, 1]])


def test_ramp_runs_through_its_colours():
    colours = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 1]], np.float32)
    got = brushes.ramp(np.array([[0, 0.5, 1.0]], np.float32), colours)
    assert np.allclose(got, colours[None])


def test_grain_is_even():
    noise = brushes.grain((64, 64), 1.0, np.random.default_rng(0))
    assert noise.mean() == pytest.approx(0, abs=1e-5)
    assert noise.std() == pytest.approx(1, abs=1e-4)
