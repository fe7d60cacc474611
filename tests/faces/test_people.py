"""Outlines of people: matched to faces, and boxes about the faces where they are not found."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from facestudio.errors import BadRegion
from facestudio.faces.people import (
    MaskRcnn,
    find_people,
    installed_segmenter,
    match_people,
)
from facestudio.faces.regions import find_regions, regions_to_masks

SIZE = (200, 100)
PICTURE = Image.new("RGB", SIZE)


class Outlines:
    """A segmenter that answers what it is told."""

    def __init__(self, *masks):
        self.masks = list(masks)

    def segment(self, image):
        assert image.size == SIZE
        return self.masks


def stripe(left, right):
    mask = np.zeros(SIZE[::-1], dtype=bool)
    mask[:, left:right] = True
    return mask


@pytest.fixture
def couple(make_face):
    return [make_face(30, 20, 40), make_face(130, 20, 44)]


def test_each_face_gets_the_person_it_lies_in(couple):
    left, right = stripe(0, 90), stripe(110, 200)
    first, second = match_people(couple, [right, left])
    np.testing.assert_array_equal(first, left)
    np.testing.assert_array_equal(second, right)


def test_two_faces_never_share_one_person(couple):
    everybody, right = stripe(0, 200), stripe(110, 200)
    one, two = match_people(couple, [everybody, right])
    assert {one.sum(), two.sum()} == {everybody.sum(), right.sum()}
    assert match_people(couple, [everybody]) is None


def test_a_face_outside_of_all_people_matches_nothing(couple):
    assert match_people(couple, [stripe(0, 90), stripe(90, 100)]) is None
    assert match_people(couple, []) is None


def test_regions_are_the_outlines_left_to_right(given_faces, couple):
    detector = given_faces(couple, couple)
    regions = find_people(PICTURE, detector, 2, Outlines(stripe(110, 200), stripe(0, 90)))
    left, right = regions_to_masks(regions, 100, 200)
    np.testing.assert_array_equal(left > 0, stripe(0, 90))
    np.testing.assert_array_equal(right > 0, stripe(110, 200))


def test_without_outlines_regions_are_about_the_faces(given_faces, couple):
    boxes = find_regions(PICTURE, given_faces(couple), 2)
    found = find_people(PICTURE, given_faces(couple, couple), 2, Outlines())
    assert [region.box for region in found] == boxes


def test_too_few_faces_are_refused(given_faces, couple):
    with pytest.raises(BadRegion, match="1 faces found"):
        find_people(PICTURE, given_faces(couple[:1]), 2, Outlines())


@pytest.fixture
def torchvision(monkeypatch):
    """torchvision with a network of one weight that sees two people, one car and one doubt."""

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, pictures):
            assert pictures[0].shape == (3, 100, 200)
            masks = torch.zeros(4, 1, 100, 200)
            masks[0, :, :, :90], masks[1, :, :, 110:] = 0.9, 0.8
            labels = torch.tensor([1, 1, 3, 1])
            return [
                {"labels": labels, "scores": torch.tensor([0.9, 0.8, 0.9, 0.1]), "masks": masks}
            ]

    detection = ModuleType("torchvision.models.detection")
    detection.maskrcnn_resnet50_fpn_v2 = lambda weights, weights_backbone: Network()
    for name in ("torchvision", "torchvision.models"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, detection.__name__, detection)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)


def test_mask_rcnn_gives_the_people_it_is_sure_of(torchvision, tmp_path):
    torch.save({"weight": torch.ones(1)}, tmp_path / "weights.pth")
    one, two = MaskRcnn(tmp_path / "weights.pth").segment(PICTURE)
    np.testing.assert_array_equal(one, stripe(0, 90))
    np.testing.assert_array_equal(two, stripe(110, 200))


def test_nothing_is_fetched_where_weights_are_not_here(torchvision, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    installed_segmenter.cache_clear()
    assert installed_segmenter() is None
    weights = tmp_path / "checkpoints/maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth"
    weights.parent.mkdir()
    torch.save({"weight": torch.ones(1)}, weights)
    installed_segmenter.cache_clear()
    assert isinstance(installed_segmenter(), MaskRcnn)
    installed_segmenter.cache_clear()
