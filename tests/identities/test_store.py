"""Saved people: where they are kept, and what a name may be."""

from pathlib import Path

import numpy as np
import pytest

from facestudio.errors import BadOption, EncoderMismatch
from facestudio.faces.identity import Identity
from facestudio.faces.quality import Quality
from facestudio.identities.profile import Profile
from facestudio.identities.store import user_folder


@pytest.fixture
def anna() -> Identity:
    vector = np.arange(4, dtype=np.float32)
    return Identity(vector, "tiny@1", 4, vector[None])


def test_saved_and_read_back(store, anna):
    assert store.add("anna", anna) == store.path("anna")
    found = store.load("anna")
    np.testing.assert_array_equal(found.embedding, anna.embedding)
    assert found.encoder == anna.encoder


def test_a_whole_profile_is_kept(store, anna):
    store.add("anna", Profile(anna, (Quality(90.0, 0.5, 0.25),)))
    assert store.load_profile("anna").qualities == (Quality(90.0, 0.5, 0.25),)
    np.testing.assert_array_equal(store.load("anna").embedding, anna.embedding)
    with pytest.raises(BadOption, match="ben"):
        store.load_profile("ben")


def test_a_person_of_another_encoder_is_refused_by_name(store, anna):
    store.add("anna", anna)
    assert store.load("anna", "tiny@1").encoder == "tiny@1"
    with pytest.raises(EncoderMismatch, match="anna was saved with the encoder tiny@1") as caught:
        store.load("anna", "tiny@2")
    assert "identity add anna" in caught.value.hint


def test_names_in_order_and_nothing_else(store, anna):
    assert store.names() == []
    for name in ("ben", "anna", "Zoë-2"):
        store.add(name, anna)
    (store.folder / "notes.txt").touch()
    (store.folder / ".hidden.safetensors").touch()
    assert store.names() == ["Zoë-2", "anna", "ben"]


def test_looking_creates_nothing(store):
    store.names()
    with pytest.raises(BadOption):
        store.load("anna")
    assert not store.folder.exists()


def test_taken_names_are_kept_unless_replaced(store, anna):
    store.add("anna", anna)
    with pytest.raises(BadOption, match="saved already"):
        store.add("anna", anna)
    store.add("anna", anna, replace=True)


def test_removed_is_gone(store, anna):
    store.add("anna", anna)
    store.remove("anna")
    assert list(store.folder.iterdir()) == []
    with pytest.raises(BadOption, match="no saved person"):
        store.remove("anna")


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../a", "-a", "_a", "a b", "a\n", "a" * 65])
def test_names_that_could_leave_the_folder_are_refused(store, anna, name):
    with pytest.raises(BadOption, match="not a name"):
        store.add(name, anna)


def test_the_users_folder(monkeypatch):
    monkeypatch.delenv("FACESTUDIO_HOME", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/anna")
    assert user_folder() == Path("/home/anna/.local/share/facestudio")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert user_folder() == Path("/data/facestudio")
    monkeypatch.setenv("FACESTUDIO_HOME", "/elsewhere")
    assert user_folder() == Path("/elsewhere")
