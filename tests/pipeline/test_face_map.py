"""A pipeline whose U-Net takes a face map beside the latents."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch

from facestudio import FaceStudioPipeline
from facestudio.errors import BadModel
from facestudio.faces.face_map import FaceMapper
from facestudio.faces.mapped import MappedEncoder
from facestudio.pipeline.conditions import make_context, tell_people
from facestudio.pipeline.request import Request
from facestudio.pipeline.scene import Scene
from tests.pipeline.conftest import make_identity, make_unet

FEATURES = 2


def parts_of(pipe):
    """What the constructor took."""
    names = inspect.signature(FaceStudioPipeline.__init__).parameters
    return {name: value for name, value in vars(pipe).items() if name in names}


@pytest.fixture
def mapped(pipe, seeing) -> FaceStudioPipeline:
    torch.manual_seed(1)
    mapper = FaceMapper(channels=6, factor=4, cells=8, width=4, features=FEATURES)
    parts = parts_of(pipe) | {
        "unet": make_unet(map_features=FEATURES),
        "identity_encoder": MappedEncoder(pipe.identity_encoder, mapper),
    }
    return FaceStudioPipeline(**parts)


@pytest.fixture
def people(mapped):
    return [make_identity(mapped.identity_encoder, seed) for seed in (1, 2)]


def pixels_of(output):
    return np.asarray(output.images[0]).astype(int)


def context_of(mapped, people, masks=None, **options):
    wanted = {"prompt": "a hat", "alpha": 0.0, "guidance_scale": 2.0, "height": 32, "width": 32}
    request = Request(people=people, **(wanted | options))
    with torch.no_grad():
        scene = Scene(None, None, None, masks)
        return make_context(mapped, request, people, scene, [torch.Generator().manual_seed(0)] * 3)


def test_the_map_follows_the_identity_and_is_zero_without(mapped, people):
    context = context_of(mapped, people[:1])
    assert context.face_map.shape == (6, FEATURES, 8, 8)
    assert not context.face_map[:3].any()
    own = torch.from_numpy(people[0].embedding[mapped.guidance.identity_dim :])
    torch.testing.assert_close(context.face_map[4].flatten(), own)
    assert not context_of(mapped, [None]).face_map.any()


def test_identity_scale_weighs_the_map(mapped, people):
    once, twice = (context_of(mapped, people[:1], identity_scale=s).face_map for s in (1.0, 2.0))
    torch.testing.assert_close(twice, 2 * once)


def test_two_people_each_on_their_side(mapped, people):
    masks = np.zeros((2, 8, 16), np.float32)
    masks[0, :, :8], masks[1, :, 8:] = 1, 1
    placed = context_of(mapped, people, masks, width=64).face_map[-1]
    _, maps = tell_people(people, mapped)
    torch.testing.assert_close(placed, torch.cat(list(maps), dim=-1))


def test_the_map_alone_changes_the_picture(mapped, people):
    mapped.guidance.join.weight.data[:, 8:] = 0  # the tokens know nothing of the identity
    first, second = (pixels_of(mapped(who, prompt="a hat", seed=1)) for who in people)
    assert np.abs(first - second).max() > 0


def test_a_batch_equals_pictures_alone(mapped, people):
    both = mapped(people[0], prompt="a hat", seed=5, num_images_per_prompt=2)
    alone = mapped(people[0], prompt="a hat", seed=6)
    np.testing.assert_allclose(np.asarray(both.images[1]).astype(int), pixels_of(alone), atol=1)


def test_round_trip(mapped, people, tmp_path, seeing):
    mapped.save_pretrained(tmp_path)
    again = FaceStudioPipeline.from_pretrained(tmp_path, detector=seeing(0.5))
    one, two = (p(people[0], prompt="a hat", seed=3) for p in (mapped, again))
    np.testing.assert_array_equal(pixels_of(one), pixels_of(two))


def test_an_encoder_without_the_map_is_refused(mapped, pipe):
    parts = parts_of(mapped) | {"identity_encoder": pipe.identity_encoder}
    with pytest.raises(BadModel, match="face map of 2 numbers"):
        FaceStudioPipeline(**parts)
