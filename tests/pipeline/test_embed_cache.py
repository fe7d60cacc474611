"""The cache of encoders' results: the same results, fewer calls, a bound."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from facestudio.errors import NoFace
from facestudio.pipeline.embed_cache import EmbedCache, hash_picture
from facestudio.pipeline.scene import to_pixels
from tests.pipeline.conftest import make_look_reader


def count(results):
    """A maker that counts up, and the list of what it made."""

    def make():
        results.append(len(results))
        return results[-1]

    return make


@pytest.fixture
def encoded(pipe, monkeypatch):
    """The batches that the identity encoder and the towers were given."""
    seen = {"faces": [], "styles": []}
    embed, look = pipe.identity_encoder.embed, pipe.image_towers.forward
    monkeypatch.setattr(
        pipe.identity_encoder, "embed", lambda crops: seen["faces"].append(crops) or embed(crops)
    )
    monkeypatch.setattr(
        pipe.image_towers, "forward", lambda pixels: seen["styles"].append(pixels) or look(pixels)
    )
    return seen


def test_a_result_is_made_once_for_its_parts():
    cache, made, part = EmbedCache(), [], object()
    assert [cache.get("a", (part,), count(made)) for _ in range(3)] == [0, 0, 0]
    assert cache.get("b", (part,), count(made)) == 1
    assert cache.get("a", (object(),), count(made)) == 2


def test_the_longest_unused_goes_first():
    cache, made, part = EmbedCache(2), [], object()
    for key in "abac":
        cache.get(key, (part,), count(made))
    assert len(cache) == 2
    assert cache.get("a", (part,), count(made)) == 0
    assert cache.get("b", (part,), count(made)) == 3


def test_switched_off_or_cleared_everything_is_made_anew():
    part = object()
    off, made = EmbedCache(0), []
    assert [off.get("a", (part,), count(made)) for _ in range(2)] == [0, 1]
    cleared, made = EmbedCache(), []
    cleared.get("a", (part,), count(made))
    cleared.clear()
    assert cleared.get("a", (part,), count(made)) == 1


def test_the_hash_is_of_size_and_pixels(picture):
    assert hash_picture(picture(1)) == hash_picture(picture(1).convert("RGBA"))
    different = [picture(1), picture(2), Image.new("RGB", (4, 2)), Image.new("RGB", (2, 4))]
    assert len({hash_picture(image) for image in different}) == 4


def test_a_photo_is_embedded_once(pipe, picture, encoded, tmp_path):
    picture(1, 320, 320).save(tmp_path / "anna.png")
    first, second = pipe.identity(picture(1, 320, 320)), pipe.identity(tmp_path / "anna.png")
    assert len(encoded["faces"]) == 1
    np.testing.assert_array_equal(first.embedding, second.embedding)
    pipe.identity(picture(2, 320, 320))
    pipe.identity(picture(1, 320, 320), picture(2, 320, 320))
    assert len(encoded["faces"]) == 3
    pipe.embed_cache = EmbedCache(0)
    again = pipe.identity(picture(1, 320, 320))
    assert len(encoded["faces"]) == 4
    np.testing.assert_array_equal(first.embedding, again.embedding)


def test_a_style_is_encoded_once(pipe, picture, encoded):
    draw = {"style": picture(3), "seed": 1, "output_type": "np"}
    first, second = (pipe(None, **draw).images for _ in range(2))
    assert len(encoded["styles"]) == 1
    np.testing.assert_array_equal(first, second)
    pipe.embed_cache = EmbedCache(0)
    np.testing.assert_array_equal(pipe(None, **draw).images, first)
    assert len(encoded["styles"]) == 2


def test_a_look_is_told_by_the_picture_with_its_faces(pipe, picture, encoded):
    plain = pipe.style_vector(picture(3))
    pipe.look_reader = make_look_reader()
    settled = pipe.style_vector(picture(3), picture(4))
    torch.testing.assert_close(settled, (plain + pipe.look_reader.means[1]) / 2)
    seen = []
    pipe.look_reader.register_forward_pre_hook(lambda _, pixels: seen.append(pixels[0]))
    pipe.style_vector(picture(3), picture(4))
    assert not seen
    pipe.style_vector(picture(3), picture(5))
    assert len(seen) == 1
    pipe.look_reader = None
    torch.testing.assert_close(pipe.style_vector(picture(3), picture(5)), plain)


def test_a_call_shows_the_reader_what_it_was_shown(pipe, picture):
    pipe.look_reader = make_look_reader()
    seen = []
    pipe.look_reader.register_forward_pre_hook(lambda _, pixels: seen.append(pixels[0]))
    pipe(None, style=picture(4), seed=1, output_type="latent")
    expected = torch.nn.functional.interpolate(
        to_pixels(picture(4)), (128, 128), mode="bicubic", antialias=True
    )
    torch.testing.assert_close(seen[0], expected.clamp(-1, 1))


def test_another_detector_looks_for_itself(pipe, picture, seeing):
    pipe.identity(picture(1, 320, 320))
    pipe.detector = seeing()
    with pytest.raises(NoFace):
        pipe.identity(picture(1, 320, 320))


def test_a_style_picture_is_looked_at_for_faces_once(pipe, picture):
    say = {"style": picture(4), "output_type": "latent"}
    pipe(None, **say, seed=1)
    seen = len(pipe.detector.seen)
    assert seen > 0
    pipe(None, **say, seed=2)
    assert len(pipe.detector.seen) == seen
    pipe(None, **say | {"style": picture(5)}, seed=2)
    assert len(pipe.detector.seen) > seen


def test_another_detector_looks_anew(pipe, picture, seeing):
    say = {"style": picture(4), "seed": 1, "output_type": "np"}
    pipe(None, **say)
    pipe.detector = seeing(0.25)
    other = pipe(None, **say).images
    pipe.embed_cache.clear()
    np.testing.assert_array_equal(pipe(None, **say).images, other)
    assert pipe.detector.seen
