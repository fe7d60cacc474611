"""Figures are what they are by hand on vectors whose answer is plain."""

import math

import numpy as np
import pytest

from facestudio.evaluation.measures import (
    Scale,
    copy_paste,
    estimate,
    hits,
    judge_outputs,
    judge_photos,
)
from facestudio.faces.calibration import Calibration

AXES = np.eye(4)
NOBODY = np.full(4, np.nan)


def turned(angle: float, towards: int = 1) -> np.ndarray:
    """Axis 0 turned by `angle` degrees towards another axis."""
    return math.cos(math.radians(angle)) * AXES[0] + math.sin(math.radians(angle)) * AXES[towards]


def test_estimate_is_the_mean_within_its_interval():
    values = np.random.default_rng(0).normal(0.5, 0.1, 400)
    found = estimate(values)
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.1 / 20, rel=0.2)
    assert found.low < found.mean < found.high
    assert found == estimate(values)


def test_estimate_leaves_out_nan_and_knows_nothing_of_nothing():
    assert estimate(np.array([1.0, np.nan, 0.0])).n == 2
    assert estimate(np.array([True, False, True, True])).mean == 0.75
    empty = estimate(np.array([np.nan]))
    assert empty.n == 0
    assert math.isnan(empty.mean)


def test_plain_scale_is_the_cosine():
    table = Scale().table(np.stack([3 * AXES[0], turned(60)]), AXES[:2])
    assert np.allclose(table, [[1, 0], [0.5, math.sqrt(0.75)]])


def test_calibrated_scale_says_what_the_calibration_says():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 5, 8)) + 1
    calibration = Calibration(np.full(8, 0.4, np.float32), strangers=0.2, same=0.9)
    table = Scale.of(calibration).table(a, b)
    assert np.allclose(np.diag(table), calibration.similarity(a, b), atol=1e-5)
    assert np.allclose(Scale.of(None).table(a, b), Scale().table(a, b))


def test_missing_faces_are_nan_in_a_table():
    table = Scale().table(np.stack([AXES[0], NOBODY]), AXES[:2])
    assert np.isnan(table[1]).all()
    assert not np.isnan(table[0]).any()


def test_hits_are_largest_on_the_diagonal():
    table = np.array([[0.9, 0.1, 0.2], [0.8, 0.3, 0.1], [np.nan, np.nan, np.nan]])
    assert hits(table).tolist() == [True, False, False]
    assert hits(np.array([[0.2, np.nan], [0.1, 0.5]])).tolist() == [True, True]


def test_photos_give_ceiling_floor_and_threshold():
    rng = np.random.default_rng(0)
    reference = rng.standard_normal((60, 64))
    other = reference + 0.5 * rng.standard_normal((60, 64))
    real = judge_photos(Scale(), reference, other, false_accepts=0.01)
    strangers = Scale().table(reference, other)[~np.eye(60, dtype=bool)]
    assert real.same.mean == pytest.approx(1 / math.sqrt(1.25), abs=0.02)
    assert real.strangers == pytest.approx(0, abs=0.02)
    assert (strangers > real.strangers_high).mean() == pytest.approx(0.01, abs=0.003)
    assert real.rank1.mean == 1
    assert real.verified.mean == 1


def test_outputs_equal_to_the_reference_are_copies():
    rng = np.random.default_rng(0)
    reference, noise = rng.standard_normal((2, 20, 64))
    other = reference + noise
    copied = judge_outputs(Scale(), reference, reference, other, threshold=0.5)
    assert copied.reference.mean == pytest.approx(1)
    assert copied.rank1_reference.mean == 1
    assert copied.verified_reference.mean == 1
    assert copied.copy_paste.mean == pytest.approx(1)
    learned = judge_outputs(Scale(), other, reference, other, threshold=0.5)
    assert learned.copy_paste.mean == pytest.approx(-1)
    strangers = judge_outputs(Scale(), reference[::-1], reference, other, threshold=0.5)
    assert strangers.rank1_reference.mean == 0
    assert strangers.verified_other.mean == 0


def test_outputs_without_a_face_count_as_nothing():
    outputs = np.stack([AXES[0], NOBODY])
    found = judge_outputs(Scale(), outputs, AXES[:2], AXES[:2], threshold=-1)
    assert found.reference.mean == 0.5
    assert found.reference.n == 2
    assert found.rank1_reference.mean == 0.5
    assert found.verified_reference.mean == 0.5, "even where the threshold lies under 0"
    assert found.copy_paste.n == 1


@pytest.mark.parametrize(("angle", "wanted"), [(0, 1), (20, 0.5), (40, 0), (80, -1)])
def test_copy_paste_measures_angles(angle, wanted):
    """Photos 80 degrees apart, the output at `angle` from the reference."""
    found = copy_paste(Scale(), turned(angle)[None], turned(0)[None], turned(80)[None])
    assert found[0] == pytest.approx(wanted)


def test_copy_paste_of_an_output_apart_from_both_is_nothing():
    assert copy_paste(Scale(), AXES[2:3], AXES[:1], turned(80)[None])[0] == pytest.approx(0)
    assert np.isnan(copy_paste(Scale(), NOBODY[None], AXES[:1], AXES[1:2])[0])
