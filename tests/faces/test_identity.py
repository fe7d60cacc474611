"""Identities: photos to one embedding, mixing, files."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from facestudio.errors import BadModel, BadOption, BadOutput, EncoderMismatch, MissingFile
from facestudio.faces.calibration import unit_rms
from facestudio.faces.identity import Identity, load_identity, mix_identities

ENCODER = SimpleNamespace(name="toy", version="1", dimension=8, compare_dim=6)
OTHER = SimpleNamespace(name="toy", version="2", dimension=8, compare_dim=6)


def vectors(seed, n=2):
    values = np.random.default_rng(seed).normal(size=(n, 8))
    return np.concatenate([unit_rms(values[:, :6]), values[:, 6:]], axis=1).astype(np.float32)


@pytest.fixture
def anna():
    return Identity.from_photos(vectors(1), ENCODER)


@pytest.fixture
def ben():
    return Identity.from_photos(vectors(2, 1), ENCODER)


def rms(vector):
    return np.sqrt((vector**2).mean())


def test_from_photos(anna):
    assert (anna.embedding.shape, anna.embedding.dtype) == ((8,), np.float32)
    assert (anna.encoder, anna.compare_dim, anna.photos.shape) == ("toy@1", 6, (2, 8))
    assert rms(anna.compared) == pytest.approx(1, rel=1e-5)
    assert np.allclose(anna.compared, unit_rms(vectors(1)[:, :6].mean(0)), atol=1e-6)


def test_places_are_of_the_photo_nearest_to_the_mean():
    left, right = vectors(1, 1)[0], vectors(2, 1)[0]
    photos = np.stack([left, (left + right) / 2, right])
    photos[:, 6:] = [[0, 1], [2, 3], [4, 5]]
    assert Identity.from_photos(photos, ENCODER).embedding[6:].tolist() == [2, 3]
    assert Identity.from_photos(np.zeros((2, 8)), ENCODER).embedding.tolist() == [0] * 8


def test_one_photo_is_kept_as_it_is(ben):
    assert np.allclose(ben.embedding, vectors(2, 1)[0], atol=1e-6)
    assert np.allclose(Identity.from_photos(vectors(2, 1)[0], ENCODER).embedding, ben.embedding)


@pytest.mark.parametrize("shape", [(0, 8), (2, 7), (5,)])
def test_wrong_shapes(shape):
    with pytest.raises(BadOption, match="shape"):
        Identity.from_photos(np.zeros(shape), ENCODER)


def test_mixing_all_of_one_is_that_one(anna, ben):
    for weight, wanted in ((0, anna), (1, ben)):
        mixed = anna.mix(ben, weight)
        assert np.allclose(mixed.embedding, wanted.embedding, atol=1e-6)
        assert (mixed.photos == wanted.photos).all()


@given(st.floats(0, 1))
def test_mix_is_the_weighted_mean(weight):
    anna, ben = (Identity.from_photos(vectors(seed), ENCODER) for seed in (1, 2))
    mixed = anna.mix(ben, weight)
    linear = (1 - weight) * anna.embedding + weight * ben.embedding
    assert np.allclose(mixed.compared, unit_rms(linear[:6]), atol=1e-5)
    assert np.allclose(mixed.embedding[6:], linear[6:], atol=1e-5)
    assert np.allclose(ben.mix(anna, 1 - weight).embedding, mixed.embedding, atol=1e-5)


def test_weights_are_shares(anna, ben):
    once, twice = (mix_identities([anna, ben], [1 * k, 3 * k]) for k in (1, 2))
    assert np.allclose(once.embedding, anna.mix(ben, 0.75).embedding, atol=1e-6)
    assert (once.embedding == twice.embedding).all()
    assert once.photos.shape == (3, 8)


@pytest.mark.parametrize("weights", [[1], [0, 0], [-1, 2], [float("nan"), 1], []])
def test_bad_weights(anna, ben, weights):
    with pytest.raises(BadOption):
        mix_identities([anna, ben], weights)


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_bad_share(anna, ben, weight):
    with pytest.raises(BadOption, match=r"0\.\.\.1"):
        anna.mix(ben, weight)
    with pytest.raises(BadOption):
        mix_identities([], [])


def test_another_encoder(anna):
    stranger = Identity.from_photos(vectors(3), OTHER)
    with pytest.raises(EncoderMismatch) as caught:
        anna.mix(stranger)
    assert "toy@2" in caught.value.message
    assert "toy@1" in caught.value.message
    with pytest.raises(EncoderMismatch):
        stranger.require_encoder("toy@1")
    stranger.require_encoder("toy@2")


def test_files(tmp_path, anna):
    path = tmp_path / "anna.safetensors"
    anna.save(path)
    back = load_identity(path)
    assert (back.embedding == anna.embedding).all()
    assert (back.photos == anna.photos).all()
    assert (back.encoder, back.compare_dim) == (anna.encoder, anna.compare_dim)
    assert [entry.name for entry in tmp_path.iterdir()] == ["anna.safetensors"]


def test_unusable_places(tmp_path, anna):
    for path in (tmp_path / "none" / "a.safetensors", tmp_path / "a.png"):
        with pytest.raises(BadOutput):
            anna.save(path)


def test_files_that_are_no_identity(tmp_path):
    with pytest.raises(MissingFile):
        load_identity(tmp_path / "none.safetensors")
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"hello")
    with pytest.raises(BadModel):
        load_identity(path)
    save_file({"embedding": np.zeros(2, np.float32)}, path)
    with pytest.raises(BadModel, match="no identity"):
        load_identity(path)
    save_file({"embedding": np.zeros(2, np.float32)}, path, {"format": "facestudio-identity"})
    with pytest.raises(BadModel):
        load_identity(path)
