"""Likeness: whose face is measured, and that the same picture gives 1."""

import numpy as np
import pytest

from facestudio.faces.align import align_face
from facestudio.faces.identity import Identity
from facestudio.pipeline.likeness import enlarge, measure_likeness
from tests.pipeline.conftest import TinyDetector


def embed(image, detector, encoder, index=0):
    """The identity in the face that `detector` sees in the picture, enlarged as when measured."""
    large = enlarge(image)
    crop = align_face(large, detector.detect(large)[index].eyes)
    return Identity.from_photos(encoder.embed(crop[None]), encoder)


def test_the_same_picture_gives_1(picture, seeing, encoder):
    detector = seeing(0.5)
    person = embed(picture(1), detector, encoder)
    assert measure_likeness(picture(1), [person], None, encoder, detector) == [pytest.approx(1)]


def test_another_person_gives_less(picture, seeing, encoder, anna):
    (value,) = measure_likeness(picture(1), [anna], None, encoder, seeing(0.5))
    assert value < 0.99


def test_no_face_gives_none(picture, seeing, encoder, anna):
    assert measure_likeness(picture(1), [anna], None, encoder, seeing()) == [None]


def test_faces_are_sought_in_the_small_picture_and_then_in_the_large_one(
    picture, seeing, encoder, anna
):
    detector = seeing(0.5)
    (value,) = measure_likeness(picture(1), [anna], None, encoder, detector)
    assert [image.size for image in detector.seen] == [(32, 32)]
    blind = FarSighted(0.5)
    assert measure_likeness(picture(1), [anna], None, encoder, blind) == [pytest.approx(value)]
    assert [image.size for image in blind.seen] == [(32, 32), (320, 320)]


class FarSighted(TinyDetector):
    """Sees nothing in small pictures."""

    def detect(self, image):
        faces = super().detect(image)
        return faces if image.width > 100 else []


def test_nobody_gives_none_without_a_search(picture, seeing, encoder):
    detector = seeing(0.5)
    assert measure_likeness(picture(1), [None], None, encoder, detector) == [None]
    assert not detector.seen


def test_an_encoder_without_calibration_gives_none(picture, seeing, encoder, anna, monkeypatch):
    monkeypatch.setattr(encoder, "calibration", None)
    assert measure_likeness(picture(1), [anna], None, encoder, seeing(0.5)) == [None]


def test_each_person_is_measured_in_their_own_region(picture, seeing, encoder):
    masks = np.zeros((2, 8, 8), np.float32)
    masks[0, :, 4:], masks[1, :, :4] = 1, 1
    detector = seeing(0.25, 0.75)
    people = [embed(picture(1), detector, encoder, index) for index in (1, 0)]
    values = measure_likeness(picture(1), people, masks, encoder, detector)
    assert values == [pytest.approx(1), pytest.approx(1)]
    swapped = measure_likeness(picture(1), people[::-1], masks, encoder, detector)
    assert max(swapped) < 0.9999


def test_a_region_without_a_face_gives_none(picture, seeing, encoder, anna, ben):
    masks = np.zeros((2, 8, 8), np.float32)
    masks[0, :, :4], masks[1, :, 4:] = 1, 1
    values = measure_likeness(picture(1), [anna, ben], masks, encoder, seeing(0.2))
    assert values[0] is not None
    assert values[1] is None


@pytest.mark.parametrize(("size", "large"), [((32, 32), 320), ((128, 256), 384), ((640, 320), 320)])
def test_small_pictures_are_enlarged_by_whole_factors(picture, size, large):
    image = picture(0, *size)
    assert min(enlarge(image).size) == large
    assert enlarge(image).width * image.height == enlarge(image).height * image.width
