"""Faces are found, aligned by five points and embedded; what is missing is nan or an error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from facestudio.errors import BadOption, MissingFile, MissingWeights
from facestudio.evaluation import recognisers
from facestudio.evaluation.recognisers import (
    TEMPLATE,
    YunetDetector,
    align_five_points,
    embed_crops,
    find_central,
    fit_similarity,
    load_detector,
)
from facestudio.faces.align import align_face
from facestudio.faces.detect import DlibDetector


class HalfEncoder:
    """Gives more numbers than it compares."""

    name, version, licence, calibration = "half", "1", "CC0", None
    dimension, compare_dim = 4, 2

    def __init__(self) -> None:
        self.batches: list[int] = []

    def embed(self, crops):
        self.batches.append(len(crops))
        return np.stack([crops[:, 0, 0, 0].astype(np.float32)] * 4, axis=1)


@given(angle=st.floats(-3, 3), scale=st.floats(0.1, 9), x=st.floats(-99, 99), y=st.floats(-99, 99))
@settings(max_examples=50, deadline=None)
def test_a_similarity_is_found_again(angle, scale, x, y):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = TEMPLATE @ turn.T + [x, y]
    found, shift = fit_similarity(TEMPLATE, moved)
    assert np.allclose(found, turn, atol=1e-6)
    assert np.allclose(shift, [x, y], atol=1e-4)


def test_a_mirrored_face_is_not_mirrored_back():
    mirrored = TEMPLATE * [-1, 1]
    turn, _ = fit_similarity(mirrored, TEMPLATE)
    assert np.linalg.det(turn) > 0


def test_fit_is_the_best_of_many():
    rng = np.random.default_rng(0)
    target = TEMPLATE + rng.normal(0, 4, TEMPLATE.shape)
    turn, shift = fit_similarity(TEMPLATE, target)
    best = ((TEMPLATE @ turn.T + shift - target) ** 2).sum()
    for _ in range(100):
        a, b = rng.normal(0, 0.02, 2)
        other = turn + np.array([[a, -b], [b, a]])
        offset = target.mean(0) - other @ TEMPLATE.mean(0)
        assert ((TEMPLATE @ other.T + offset - target) ** 2).sum() >= best


def test_points_that_are_one_are_refused():
    with pytest.raises(BadOption, match="two different points"):
        fit_similarity(np.ones((5, 2)), TEMPLATE)


def test_aligned_picture_is_the_picture_where_it_lies_on_the_template():
    picture = np.random.default_rng(0).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    crop = align_five_points(Image.fromarray(picture), TEMPLATE)
    assert np.abs(crop.astype(int) - picture).max() <= 1


def test_aligned_picture_has_the_points_on_the_template():
    picture = Image.new("RGB", (300, 300))
    points = TEMPLATE * 2 + [40, 30]
    for x, y in points:
        picture.paste((255, 255, 255), (int(x) - 3, int(y) - 3, int(x) + 4, int(y) + 4))
    crop = align_five_points(picture, points)
    for x, y in TEMPLATE:
        assert crop[int(y), int(x)].min() > 200


def test_five_points_agree_with_the_eyes_on_a_frontal_face(astronaut, astronaut_face):
    by_points = align_five_points(astronaut, astronaut_face.points).astype(float)
    by_eyes = align_face(astronaut, astronaut_face.eyes).astype(float)
    assert np.abs(by_points - by_eyes)[10:-10, 10:-10].mean() < 12


def test_no_face_or_a_small_one_is_none(astronaut, detector):
    assert find_central(Image.new("RGB", (200, 200), "grey"), detector, 40) is None
    assert find_central(astronaut, detector, 400) is None
    assert find_central(astronaut, detector, 40).width > 40


def test_crops_are_embedded_in_batches_and_missing_ones_are_nan(monkeypatch):
    monkeypatch.setattr(recognisers, "BATCH", 2)
    encoder = HalfEncoder()
    crops = [np.full((112, 112, 3), shade, np.uint8) for shade in (1, 2, 3)]
    vectors = embed_crops(encoder, [crops[0], None, crops[1], crops[2]])
    assert encoder.batches == [2, 1]
    assert vectors[[0, 2, 3], 0].tolist() == [1, 2, 3]
    assert np.isnan(vectors[1]).all()
    assert vectors.shape == (4, 2)


def test_nobody_at_all_is_all_nan():
    assert np.isnan(embed_crops(HalfEncoder(), [None, None])).all()


def test_detectors_are_chosen_by_name_or_file(tmp_path):
    assert isinstance(load_detector("dlib"), DlibDetector)
    with pytest.raises(BadOption, match="give dlib or the path"):
        load_detector("mtcnn")
    with pytest.raises(MissingFile, match="no such detector"):
        load_detector(str(tmp_path / "yunet.onnx"))


def test_yunet_without_opencv_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "yunet.onnx").write_bytes(b"")
    monkeypatch.setattr(recognisers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingWeights, match="evaluation"):
        YunetDetector(tmp_path / "yunet.onnx")


def test_yunets_row_becomes_a_face():
    row = np.array([10, 20, 30, 40, *range(10), 0.9], np.float32)
    face = recognisers._face_of(row, np.array([2.0, 2.0]))
    assert face.box == (20, 40, 80, 120)
    assert face.points[0].tolist() == [1, 3], "the middle of pixel (0, 1), twice as large"
    assert face.score == pytest.approx(0.9)
