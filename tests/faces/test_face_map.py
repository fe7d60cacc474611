"""The face map: what it sees, where it is zero, and the encoder that carries it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from facestudio.codec.patch import PatchCodec
from facestudio.errors import BadModel
from facestudio.faces.align import align_face, align_portrait, face_mask, portrait_face_cells
from facestudio.faces.embed import DlibEncoder, encoder_id, recogniser_id
from facestudio.faces.encoder_folder import read_description
from facestudio.faces.face_map import FaceMapper
from facestudio.faces.identity import Identity
from facestudio.faces.load import add_face_map, load_identity_encoder, save_identity_encoder
from facestudio.faces.mapped import MappedEncoder


@pytest.fixture
def mapper():
    torch.manual_seed(0)
    return FaceMapper(channels=4, factor=8, cells=16, width=8, features=2).eval()


@pytest.fixture
def encoder(mapper):
    return MappedEncoder(DlibEncoder(), mapper)


def test_the_map_is_zero_outside_the_face(mapper):
    maps = mapper(torch.randn(2, 4, 16, 16))
    assert maps.shape == (2, 2, 16, 16)
    outside = torch.from_numpy(portrait_face_cells(16)) == 0
    assert not maps[..., outside].any()
    assert maps[..., ~outside].abs().min() > 0


def test_what_is_outside_the_face_is_not_seen(mapper):
    latents, outside = torch.randn(1, 4, 16, 16), torch.from_numpy(portrait_face_cells(16)) == 0
    other = torch.where(outside, torch.randn(1, 4, 16, 16), latents)
    torch.testing.assert_close(mapper(latents), mapper(other))


def test_nobody_has_a_map_of_zeros(mapper):
    latents = torch.randn(2, 4, 16, 16)
    latents[0] = 0
    maps = mapper(latents)
    assert not maps[0].any()
    assert maps[1].any()


def test_it_sees_what_the_codec_sees(mapper):
    codec = PatchCodec(factor=8, channels=4, widths=(4, 4, 4), blocks=1)
    codec.mean.normal_()
    codec.scale.uniform_(0.5, 2)
    mapper.take_projection(codec.mean, codec.basis, codec.scale)
    pixels = torch.rand(2, 3, 128, 128) * 2 - 1
    torch.testing.assert_close(mapper.project(pixels), codec.encode(pixels), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(mapper.of_pixels(pixels), mapper(codec.encode(pixels)))
    assert not mapper.project.weight.requires_grad


def test_cells_of_the_face_lie_in_its_mask_and_in_the_crop():
    cells = portrait_face_cells(16)
    eyes = np.array([[0.375, 0.475], [0.625, 0.475]]) * 128
    shares = face_mask(128, 128, eyes).reshape(16, 8, 16, 8).mean((1, 3))
    assert (shares[cells == 1] >= 0.5).all()
    assert (shares[cells == 0] < 0.5).mean() > 0.9
    assert not cells[14:].any()  # below the recogniser's crop
    assert (cells == cells[:, ::-1]).all()


def test_a_crop_gives_the_map_of_its_portrait(encoder, astronaut, astronaut_face):
    """The recogniser's crop holds all that the map needs of the photo."""
    vector = encoder.embed(align_face(astronaut, astronaut_face.eyes)[None])[0]
    portrait = np.array(align_portrait(astronaut, astronaut_face.eyes, 128))
    pixels = torch.from_numpy(portrait).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.no_grad():
        wanted = encoder.mapper.of_pixels(pixels).flatten().numpy()
    assert np.corrcoef(vector[128:], wanted)[0, 1] > 0.98


def test_vector_then_map(encoder, rng):
    crops = rng.integers(0, 255, (3, 112, 112, 3), np.uint8)
    vectors = encoder.embed(crops)
    assert vectors.shape == (3, encoder.dimension) == (3, 128 + 2 * 16 * 16)
    np.testing.assert_array_equal(vectors[:, :128], DlibEncoder().embed(crops))
    assert encoder.embed(crops[:0]).shape == (0, encoder.dimension)
    np.testing.assert_allclose(encoder.embed(crops[1:2])[0], vectors[1], atol=1e-5)


def test_only_the_vector_is_compared(encoder, rng):
    crops = rng.integers(0, 255, (2, 112, 112, 3), np.uint8)
    identity = Identity.from_photos(encoder.embed(crops), encoder)
    assert identity.compared.shape == (128,)
    maps = encoder.embed(crops)[:, 128:]
    assert any(np.allclose(identity.embedding[128:], each, atol=1e-5) for each in maps)


def test_folder_round_trip(encoder, tmp_path, rng):
    save_identity_encoder(encoder, tmp_path)
    again = load_identity_encoder(tmp_path)
    crops = rng.integers(0, 255, (1, 112, 112, 3), np.uint8)
    np.testing.assert_array_equal(again.embed(crops), encoder.embed(crops))
    assert encoder_id(again) == encoder_id(encoder)
    assert read_description(tmp_path).face_map


def test_another_map_is_another_encoder(encoder, mapper):
    torch.nn.init.normal_(mapper.last.weight)
    assert encoder_id(MappedEncoder(DlibEncoder(), mapper)) != encoder_id(encoder)


def test_the_recogniser_is_the_same_with_and_without_a_map(encoder):
    assert recogniser_id(encoder) == recogniser_id(DlibEncoder()) == encoder_id(DlibEncoder())


def test_half_stored_weights_are_the_same_encoder(encoder, mapper):
    rounded = FaceMapper(**mapper.config).eval()
    rounded.load_state_dict({k: v.half().float() for k, v in mapper.state_dict().items()})
    assert encoder_id(MappedEncoder(DlibEncoder(), rounded)) == encoder_id(encoder)


def test_a_missing_map_is_named(encoder, tmp_path):
    with pytest.raises(BadModel, match="face_map"):
        add_face_map(DlibEncoder(), tmp_path / "face_map")
