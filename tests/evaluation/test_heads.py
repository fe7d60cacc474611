"""Linear heads learn what is to be told and say when there is nothing to learn from."""

import numpy as np
import pytest

from facestudio.errors import BadOption
from facestudio.evaluation.heads import Head, balance_of, fit_head


@pytest.fixture
def clouds(rng):
    """Features (90, 4) of three classes that lie apart, and their numbers."""
    labels = np.arange(90) % 3
    centres = np.array([[3, 0, 0, 5], [0, 3, 0, 5], [0, 0, 3, 5]], float)
    return centres[labels] + rng.normal(0, 0.3, (90, 4)), labels


def test_classes_that_lie_apart_are_told(clouds):
    features, labels = clouds
    head = fit_head(features, labels, ("a", "b", "c"), one_of=True)
    assert (head.choose(features) == labels).all()
    assert head.scores(features).shape == (90, 3)


def test_the_same_pictures_give_the_same_head(clouds):
    first, again = (fit_head(*clouds, ("a", "b", "c"), one_of=True) for _ in range(2))
    assert (first.weight == again.weight).all()
    assert (first.bias == again.bias).all()


def test_rare_attributes_are_found_too(rng):
    rare = np.arange(200) % 20 == 0
    often = np.arange(200) % 2 == 0
    features = np.stack([rare, often, often], 1) * 2.0 + rng.normal(0, 0.6, (200, 3))
    head = fit_head(features, np.stack([rare, often], 1), ("rare", "often"), one_of=False)
    found = head.holds(features)
    assert found[rare, 0].mean() >= 0.8
    assert found[~rare, 0].mean() <= 0.2
    assert (found[:, 1] == often).mean() > 0.9


def test_weights_of_classes_and_attributes():
    assert balance_of(np.array([0, 0, 0, 1]), 2, one_of=True).tolist() == pytest.approx([2 / 3, 2])
    assert balance_of(np.array([[1], [0], [0], [0]]), 1, one_of=False).tolist() == [3]


def test_names_without_examples_are_refused(clouds):
    features, labels = clouds
    with pytest.raises(BadOption, match="from for: d"):
        fit_head(features, labels, ("a", "b", "c", "d"), one_of=True)
    with pytest.raises(BadOption, match="from for: always"):
        fit_head(features, np.ones((90, 1)), ("always",), one_of=False)


def test_scores_are_of_normalised_features():
    head = Head(
        ("a",), False, np.array([[2.0]]), np.array([1.0]), np.array([10.0]), np.array([5.0])
    )
    assert head.scores(np.array([[15.0], [0.0]])).tolist() == [[3], [-3]]
    assert head.holds(np.array([[15.0], [0.0]])).tolist() == [[True], [False]]
