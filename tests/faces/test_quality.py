"""Photos that show a face well, and those that do not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageFilter

from facestudio.faces.align import ARCFACE_POINTS
from facestudio.faces.quality import Quality, judge_face, measure_sharpness, measure_turn


def test_a_good_photo_has_no_faults(astronaut, astronaut_face):
    quality = judge_face(astronaut, astronaut_face)
    assert quality.usable
    assert quality.faults() == []
    assert quality.face_px == min(astronaut_face.width, astronaut_face.height)


def test_blur_is_seen(astronaut, astronaut_face):
    soft = astronaut.filter(ImageFilter.GaussianBlur(3))
    assert judge_face(soft, astronaut_face).faults() == ["blurred"]


@pytest.mark.parametrize(
    ("quality", "faults", "usable"),
    [
        (Quality(120, 0.4, 0.0), [], True),
        (Quality(50, 0.4, 0.1), ["too small (50 pixels)"], True),
        (Quality(39, 0.4, -0.1), ["too small (39 pixels)"], False),
        (Quality(80, 0.1, -0.3), ["blurred", "turned away"], True),
    ],
)
def test_faults_in_words(quality, faults, usable):
    assert quality.faults() == faults
    assert quality.usable is usable


def test_sharpness_of_known_pictures(rng):
    assert measure_sharpness(np.full((9, 9), 70, np.uint8)) == 0
    ramp = np.arange(20)[None].repeat(20, 0) * 10
    assert measure_sharpness(ramp) == pytest.approx(0)
    noise = rng.normal(128, 20, (400, 400))
    assert measure_sharpness(noise) == pytest.approx(np.sqrt(16 + 4), rel=0.03)


def test_turn_follows_the_nose():
    points = ARCFACE_POINTS.copy()
    assert measure_turn(points) == 0
    apart = points[1, 0] - points[0, 0]
    points[2, 0] += 0.3 * apart
    assert measure_turn(points) == pytest.approx(0.3, abs=0.01)
    mirrored = points * [-1, 1] + [112, 0]
    mirrored[[0, 1]] = mirrored[[1, 0]]
    assert measure_turn(mirrored) == pytest.approx(-0.3, abs=0.02)


def test_half_a_face_squeezed_looks_turned(astronaut, astronaut_face, detector):
    """The far half of a turned head is foreshortened."""
    nose = int(astronaut_face.points[2, 0])
    far = astronaut.crop((nose, 0, 512, 512)).resize(((512 - nose) // 2, 512))
    turned = astronaut.crop((0, 0, nose + far.width, 512))
    turned.paste(far, (nose, 0))
    (found,) = detector.detect(turned)
    assert abs(measure_turn(astronaut_face.points)) < 0.06
    assert measure_turn(found.points) > 0.15
