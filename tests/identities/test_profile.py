"""What a profile holds, what it warns of, and that it comes back from its file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from facestudio.errors import BadModel, NoFace
from facestudio.faces.calibration import Calibration
from facestudio.faces.identity import load_identity
from facestudio.faces.quality import Quality
from facestudio.identities.profile import Profile, draw_preview, load_profile, make_profile
from facestudio.pipeline.output import FaceStudioOutput

GOOD = Quality(120.0, 0.4, 0.0)


@pytest.fixture
def profile(pipe, photos) -> Profile:
    return make_profile(pipe, photos)


def test_a_profile_of_two_photos(profile, pipe, photos):
    np.testing.assert_array_equal(profile.identity.photos, pipe.identity(*photos).photos)
    assert profile.identity.encoder == "tiny@1"
    assert [quality.face_px for quality in profile.qualities] == [64, 64]
    np.testing.assert_allclose(np.diag(profile.similarities), 1, atol=1e-5)
    assert profile.lowest_similarity == pytest.approx(float(profile.similarities[0, 1]))
    assert profile.preview.size == (32, 32)


def test_the_identity_is_of_all_photos_and_its_places_of_one(profile):
    identity = profile.identity
    mean, compared = identity.photos.mean(0), identity.compare_dim
    places = identity.photos[:, compared:]
    assert any(np.allclose(identity.embedding[compared:], each, rtol=1e-5) for each in places)
    scale = identity.embedding[0] / mean[0]
    np.testing.assert_allclose(identity.embedding[:compared], mean[:compared] * scale, rtol=1e-4)


def test_saved_and_read_back(profile, tmp_path):
    profile.save(tmp_path / "anna.safetensors")
    found = load_profile(tmp_path / "anna.safetensors")
    np.testing.assert_array_equal(found.identity.embedding, profile.identity.embedding)
    np.testing.assert_array_equal(found.similarities, profile.similarities.astype(np.float32))
    np.testing.assert_array_equal(np.asarray(found.preview), np.asarray(profile.preview))
    for one, other in zip(found.qualities, profile.qualities, strict=True):
        assert one.face_px == other.face_px
        assert one.sharpness == pytest.approx(other.sharpness, rel=1e-6)
    assert found.identity.encoder == "tiny@1"


def test_no_photo_is_in_the_file(profile, photos, tmp_path):
    """Nothing as large as a photo, and no name of one; the preview is the model's own."""
    profile.save(tmp_path / "anna.safetensors")
    tensors = load_file(tmp_path / "anna.safetensors")
    assert set(tensors) == {"embedding", "photos", "qualities", "similarities", "preview"}
    assert tensors["preview"].size <= 128 * 128 * 3
    data = (tmp_path / "anna.safetensors").read_bytes()
    assert photos[0].stem.encode() not in data
    assert len(data) < 6000


def test_the_file_is_an_identity_too(profile, tmp_path, pipe):
    profile.save(tmp_path / "anna.safetensors")
    identity = load_identity(tmp_path / "anna.safetensors")
    np.testing.assert_array_equal(identity.photos, profile.identity.photos)
    assert len(pipe(tmp_path / "anna.safetensors", prompt="a hat").images) == 1


def test_an_identity_alone_is_a_profile_without_the_rest(anna, tmp_path):
    anna.save(tmp_path / "anna.safetensors")
    found = load_profile(tmp_path / "anna.safetensors")
    assert (found.qualities, found.similarities, found.preview) == ((), None, None)
    assert found.lowest_similarity is None
    assert found.warnings() == []


def test_photos_of_two_people_are_told_with_their_similarity(anna):
    alike = np.array([[1, 0.7, 0.04], [0.7, 1, 0.6], [0.04, 0.6, 1]])
    (warning,) = Profile(anna, (GOOD,) * 3, alike).warnings()
    assert warning.startswith("photos 1 and 3 look like two people (similarity 0.04")


def test_bad_photos_are_told(anna):
    bad = Quality(50.0, 0.05, 0.3)
    assert Profile(anna, (GOOD, bad)).warnings() == [
        "photo 2: too small (50 pixels), blurred, turned away"
    ]
    assert Profile(anna, (GOOD, GOOD), np.eye(2) + 0.6).warnings() == []


def test_one_photo_has_nothing_to_differ_from(pipe, photos):
    assert make_profile(pipe, photos[:1], preview=False).lowest_similarity is None


def test_an_encoder_without_calibration_compares_nothing(pipe, photos, monkeypatch):
    monkeypatch.setattr(pipe.identity_encoder, "calibration", None)
    profile = make_profile(pipe, photos, preview=False)
    assert profile.similarities is None
    assert profile.preview is None


def test_only_the_compared_numbers_are_compared(pipe, photos, monkeypatch):
    """What an encoder adds for the generator says nothing about who it is."""
    dim = pipe.identity_encoder.compare_dim
    calibration = Calibration(np.zeros(dim, np.float32), strangers=0.0)
    monkeypatch.setattr(pipe.identity_encoder, "calibration", calibration)
    profile = make_profile(pipe, photos, preview=False)
    a, b = profile.identity.photos[:, :dim]
    wanted = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    assert profile.lowest_similarity == pytest.approx(float(wanted), abs=1e-5)


def test_the_preview_follows_the_face_and_no_words(pipe, anna, ben):
    drawn = [np.asarray(draw_preview(pipe, person), float) for person in (anna, anna, ben)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert np.abs(drawn[0] - drawn[2]).mean() > 0.1


def test_a_model_without_words_draws_one_too(pipe, anna):
    pipe.text_towers = pipe.prior = None
    assert draw_preview(pipe, anna).size == (32, 32)


def test_a_model_without_style_pictures_is_asked_in_words(pipe, anna, picture, monkeypatch):
    monkeypatch.setattr(pipe, "image_towers", None)
    asked = {}

    def draw(self, people, **options):
        asked.update(options)
        return FaceStudioOutput([picture(1, 300, 200)], [[None]], [0])

    monkeypatch.setattr(type(pipe), "__call__", draw)
    assert draw_preview(pipe, anna).size == (128, 85)
    assert asked["prompt"]
    assert "style" not in asked


def test_no_face_names_the_photo(pipe, photos, seeing):
    pipe.detector = seeing()
    with pytest.raises(NoFace, match=r"photo-1\.png"):
        make_profile(pipe, photos)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("qualities", np.zeros((3, 3), np.float32)),
        ("similarities", np.zeros((2, 3), np.float32)),
        ("preview", np.zeros((2, 2, 2, 2), np.uint8)),
    ],
)
def test_damaged_files_are_refused(profile, tmp_path, name, value):
    path = tmp_path / "anna.safetensors"
    profile.save(path)
    with safe_open(path, framework="numpy") as stored:
        notes = stored.metadata()
    save_file(load_file(path) | {name: value}, path, notes)
    with pytest.raises(BadModel, match=r"anna\.safetensors"):
        load_profile(path)


def test_what_is_missing_is_not_written(profile, tmp_path):
    bare = replace(profile, preview=None, similarities=None, qualities=())
    bare.save(tmp_path / "a.safetensors")
    assert set(load_file(tmp_path / "a.safetensors")) == {"embedding", "photos"}


def test_the_preview_is_never_a_photo(pipe, anna, monkeypatch):
    """It comes out of the model's decoder."""
    seen = []
    decode = pipe.codec.decode

    def watch(latents, style=None):
        seen.append(decode(latents, style))
        return seen[-1]

    monkeypatch.setattr(pipe.codec, "decode", watch)
    drawn = np.asarray(draw_preview(pipe, anna), float)
    decoded = seen[0][0].permute(1, 2, 0).clamp(-1, 1) * 127.5 + 127.5
    np.testing.assert_allclose(drawn, decoded.numpy(), atol=0.51)
