"""Calibrated similarity: strangers 0, same picture 1."""

from __future__ import annotations

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from facestudio.errors import BadModel, BadOption
from facestudio.faces.calibration import Calibration, calibrate, unit_rms

ENCODER = SimpleNamespace(compare_dim=16)


@pytest.fixture
def people(rng):
    """Vectors about a common direction, as recognisers give: (60, 20) and who each is."""
    who = np.repeat(np.arange(20), 3)
    common, own = rng.normal(size=16) * 2, rng.normal(size=(20, 16))
    vectors = common + own[who] + 0.3 * rng.normal(size=(60, 16))
    extra = rng.normal(size=(60, 4))
    return np.concatenate([unit_rms(vectors), extra], axis=1).astype(np.float32), who


def test_strangers_average_0_and_the_same_is_1(people):
    vectors, who = people
    calibration = calibrate(ENCODER, vectors, who)
    pairs = [(i, j) for i, j in itertools.combinations(range(60), 2) if who[i] != who[j]]
    left, right = np.array(pairs).T
    assert calibration.similarity(vectors[left], vectors[right]).mean() == pytest.approx(
        0, abs=1e-5
    )
    assert calibration.similarity(vectors, vectors) == pytest.approx(1, abs=1e-5)
    same = calibration.similarity(vectors[0::3], vectors[1::3]).mean()
    assert 0.6 < same < 1


def test_only_the_recognisers_numbers_count(people):
    vectors, who = people
    calibration = calibrate(ENCODER, vectors, who)
    changed = vectors.copy()
    changed[:, 16:] = 9
    assert (calibration.similarity(vectors, changed) > 0.999).all()
    assert calibration.mean.shape == (16,)


def test_one_pair_is_one_number(people):
    calibration = calibrate(ENCODER, *people)
    assert isinstance(float(calibration.similarity(people[0][0], people[0][1])), float)


def test_names_may_be_anything(people):
    vectors, who = people
    named = calibrate(ENCODER, vectors, [f"person {i}" for i in who])
    assert named.strangers == pytest.approx(calibrate(ENCODER, vectors, who).strangers)


def test_two_people_are_needed(people):
    vectors, who = people
    for bad_vectors, bad_who in ((vectors, np.zeros(60)), (vectors[:5], who)):
        with pytest.raises(BadOption, match="two people"):
            calibrate(ENCODER, bad_vectors, bad_who)


def test_it_goes_through_json(people):
    calibration = calibrate(ENCODER, *people)
    back = Calibration.from_dict(json.loads(json.dumps(calibration.to_dict())))
    assert np.allclose(back.mean, calibration.mean, atol=1e-5)
    assert (back.strangers, back.same) == (calibration.strangers, 1.0)


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"mean": "x", "strangers": 0},
        {"mean": [1], "strangers": 1.5},
        {"mean": 3, "strangers": 0},
    ],
)
def test_bad_json_is_refused(data):
    with pytest.raises(BadModel, match="calibration"):
        Calibration.from_dict(data)


@given(st_numpy.arrays(np.float32, (3, 5), elements=st.floats(-100, 100, width=16)))
def test_unit_rms(vectors):
    unit = unit_rms(vectors)
    rms = np.sqrt((unit.astype(float) ** 2).mean(-1))
    zero = (vectors == 0).all(-1)
    assert rms[zero] == pytest.approx(0)
    assert rms[~zero] == pytest.approx(1, rel=1e-3)
