"""InsightFace's packs: SCRFD where a pack holds it, its licence once, nothing fetched offline."""

from __future__ import annotations

import sys
import warnings
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from facestudio.errors import MissingWeights
from facestudio.faces.embed import DlibEncoder, InsightFaceEncoder
from facestudio.faces.packs import (
    LicenceNotice,
    ScrfdDetector,
    find_pack,
    pack_detector,
    require_pack,
    tell_licence,
)

BOXES = np.array([[10, 20, 60, 80, 0.6], [70, 20, 120, 80, 0.9]], np.float32)
POINTS = np.arange(20, dtype=np.float32).reshape(2, 5, 2)


class Scrfd:
    """What `insightface.model_zoo.get_model` gives for a detector's file."""

    def __init__(self, path):
        self.path, self.shown = path, []

    def prepare(self, ctx_id, input_size):
        self.prepared = (ctx_id, input_size)

    def detect(self, picture):
        self.shown.append(picture)
        return BOXES, POINTS


class Analysis:
    """What `insightface.app.FaceAnalysis` gives: a pack's models by their task."""

    def __init__(self, name, root, allowed_modules):
        self.root = root
        self.models = {"detection": None, "recognition": None}


@pytest.fixture
def insightface(monkeypatch, tmp_path):
    """The package as far as it is used, and an empty place for packs."""
    zoo, app = ModuleType("insightface.model_zoo"), ModuleType("insightface.app")
    zoo.get_model, app.FaceAnalysis = Scrfd, Analysis
    for module in (ModuleType("insightface"), zoo, app):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("INSIGHTFACE_HOME", str(tmp_path))
    tell_licence.cache_clear()
    return tmp_path


def put_pack(root, *files):
    folder = root / "models" / "buffalo_l"
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).touch()
    return folder


def test_scrfd_gives_faces_with_its_own_points(insightface, tmp_path):
    detector = ScrfdDetector(tmp_path / "det_10g.onnx")
    red = Image.new("RGB", (130, 100), (255, 0, 0))
    first, second = detector.detect(red)
    assert (first.box, second.box) == ((70, 20, 120, 80), (10, 20, 60, 80))
    assert first.score == pytest.approx(0.9)
    np.testing.assert_array_equal(first.points, POINTS[1])
    np.testing.assert_array_equal(detector._model.shown[0][0, 0], [0, 0, 255])  # blue first


def test_a_picture_without_faces_gives_none(insightface, tmp_path):
    detector = ScrfdDetector(tmp_path / "det_10g.onnx")
    detector._model.detect = lambda _: (np.zeros((0, 5), np.float32), np.zeros((0, 5, 2)))
    assert detector.detect(Image.new("RGB", (8, 8))) == []


def test_a_packs_detector_is_taken_where_it_lies_there(insightface):
    encoder = InsightFaceEncoder("buffalo_l")
    with pytest.warns(LicenceNotice):
        assert pack_detector(encoder) is None
    put_pack(insightface, "det_10g.onnx", "w600k_r50.onnx")
    detector = pack_detector(encoder)
    assert isinstance(detector, ScrfdDetector)
    assert detector._model.path.endswith("det_10g.onnx")


def test_other_encoders_have_no_pack():
    assert pack_detector(DlibEncoder()) is None


def test_the_licence_is_told_once(insightface):
    encoder = InsightFaceEncoder("buffalo_l")
    with pytest.warns(LicenceNotice, match="buffalo_l: .*non-commercial research only"):
        pack_detector(encoder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pack_detector(encoder)


def test_a_pack_is_found_by_its_files(insightface):
    assert find_pack("buffalo_l") is None
    folder = put_pack(insightface, "w600k_r50.onnx")
    assert find_pack("buffalo_l") == folder


def test_an_absent_pack_is_named_with_where_to_get_it(insightface):
    with pytest.raises(MissingWeights, match="pack buffalo_l is not on this machine") as caught:
        require_pack("insightface:buffalo_l")
    assert "github.com/deepinsight/insightface" in caught.value.hint
    require_pack("dlib")
    put_pack(insightface, "w600k_r50.onnx")
    require_pack("insightface:buffalo_l")


def test_without_the_package_it_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "insightface", None)
    with pytest.raises(MissingWeights, match="insightface is missing") as caught:
        ScrfdDetector(tmp_path / "det_10g.onnx")
    assert "pip install" in caught.value.hint
