"""Distances, sharpness, variety and scenes have their known values."""

import numpy as np
import pytest
from PIL import Image

from facestudio.evaluation.quality import (
    frechet_distance,
    mean_distance,
    scene_similarity,
    sharpness,
)

NO_FACE = np.full((2, 2), np.nan)


def test_frechet_distance_of_one_feature_is_known(rng):
    a, b = rng.normal(0, 1, (50, 1)), rng.normal(2, 3, (80, 1))
    wanted = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert frechet_distance(a, b) == pytest.approx(wanted)


def test_frechet_distance_of_many_features_is_that_of_the_matrices(rng):
    a, b = rng.normal(size=(40, 3)) @ np.diag([1, 2, 3]), rng.normal(size=(60, 3)) + 1
    shared = np.sqrt(np.linalg.eigvals(np.cov(a.T) @ np.cov(b.T)).real).sum()
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.cov(a.T).trace() + np.cov(b.T).trace()
    assert frechet_distance(a, b) == pytest.approx(wanted - 2 * shared)


def test_frechet_distance_of_the_same_pictures_is_nothing(rng):
    few = rng.normal(size=(5, 30))  # fewer pictures than features
    assert frechet_distance(few, few) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(few, few + 1) == pytest.approx(30)


def test_sharpness_is_the_variance_of_the_laplacian():
    assert sharpness(Image.new("RGB", (50, 50), "grey")) == 0
    checks = np.indices((128, 128)).sum(0) % 2 * 2.0 + 100  # neighbours differ by 2 everywhere
    assert sharpness(Image.fromarray(checks.astype(np.uint8))) == pytest.approx(64)


def test_blurred_pictures_are_less_sharp(astronaut):
    small = astronaut.resize((32, 32)).resize((512, 512))
    assert sharpness(small) < 0.3 * sharpness(astronaut)


def test_mean_distance():
    assert mean_distance(np.array([[1.0, 0], [0, 2], [0, 5]])) == pytest.approx(2 / 3)
    assert np.isnan(mean_distance(np.ones((1, 4))))


def test_scenes_are_compared_outside_the_faces():
    eyes = np.array([[26.0, 28.0], [38.0, 28.0]])  # a face in the middle of 64 px
    a, b = np.ones((2, 8, 8)), np.ones((2, 8, 8))
    b[1, 3:5, 3:5] = -1
    assert scene_similarity(a, b, [eyes, NO_FACE], (64, 64)) == pytest.approx(1)
    assert scene_similarity(a, b, [NO_FACE, NO_FACE], (64, 64)) == pytest.approx(60 / 64)
    huge = np.array([[-400.0, -200.0], [464.0, -200.0]])
    assert np.isnan(scene_similarity(a, b, [huge], (64, 64)))
