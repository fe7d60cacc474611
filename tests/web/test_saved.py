"""Saved people wherever a face is: the photo step, mixing, several people."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from facestudio.faces.quality import Quality
from facestudio.identities.profile import Profile
from facestudio.identities.store import IdentityStore
from facestudio.web.drawing import Portrait
from facestudio.web.giving import Giving
from facestudio.web.people import People
from facestudio.web.saved import draw_letter, list_saved
from facestudio.web.session import Session
from facestudio.web.tabs import Mixing
from facestudio.web.wishes import Wishes
from tests.pipeline.conftest import make_identity

ONE = Wishes(count=1, seed="3", steps=2)
BLURRED = Quality(120.0, 0.01, 0.0)


@pytest.fixture
def store(tmp_path, encoder) -> IdentityStore:
    """Anna with a picture, Ben without one, and Carl, who was saved with another encoder."""
    store = IdentityStore(tmp_path / "people")
    anna, ben, carl = (make_identity(encoder, seed) for seed in (1, 2, 3))
    store.add("anna", Profile(anna, (BLURRED,), preview=Image.new("RGB", (128, 128), "teal")))
    store.add("ben", ben)
    store.add("carl", replace(carl, encoder="arcface@1"))
    return store


@pytest.fixture
def giving(studio, uploads, store) -> Giving:
    return Giving(studio.pipe, uploads, store)


@pytest.fixture
def agreed(session) -> Session:
    session.consent = True
    return session


def test_saved_people_are_offered_by_name(giving, session):
    html = giving.show_person(session, "you")
    assert html.count('class="chip"') == html.count("<img") == 3
    assert 'data-pick="@anna" aria-pressed="false"' in html
    assert 'aria-label="Saved people"' in html


def test_nobody_saved_or_no_store_offers_nobody(studio, uploads, session, tmp_path):
    for store in (None, IdentityStore(tmp_path / "nobody")):
        assert "chip" not in Giving(studio.pipe, uploads, store).show_person(session, "you")


def test_a_person_saved_while_the_page_is_open_is_offered(giving, session, store, encoder):
    store.add("dora", make_identity(encoder, 4))
    store.remove("ben")
    html = giving.show_person(session, "you")
    assert "@dora" in html
    assert "@ben" not in html


def test_a_saved_person_is_chosen_and_shown(giving, session):
    view = giving.choose(session, "you", "@anna")
    html = view["photo-you"]
    assert view["problem:photo-you"] == ""
    assert "anna, saved from 1 photo." in html
    assert 'alt="anna, as the model draws them"' in html
    assert 'data-pick="@anna" aria-pressed="true"' in html
    assert "Photo 1: blurred." in html
    assert session.photo().crop(40).getpixel((20, 20)) == (0, 128, 128)


def test_who_has_no_picture_is_shown_as_a_letter(giving, session):
    giving.choose(session, "you", "@ben")
    assert session.photo().crop(40).tobytes() == draw_letter("ben", 40).tobytes()
    assert len(set(draw_letter("ben", 40).get_flattened_data())) > 1


def test_a_photo_takes_the_place_of_a_saved_person(giving, session, upload, astronaut):
    giving.choose(session, "you", "@anna")
    html = giving.take_photo(session, "you", upload(astronaut))["photo-you"]
    assert "One face found." in html
    assert 'data-pick="@anna" aria-pressed="false"' in html


def test_a_number_chooses_no_face_of_a_saved_person(giving, session):
    giving.choose(session, "you", "@anna")
    giving.choose(session, "you", "0")
    assert session.photo().name == "anna"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("@carl", "saved with the encoder arcface@1; tiny@1 is needed"),
        ("@nobody", "no saved person is called"),
        ("@../people/anna", "not a name for a person"),
        ("@", "not a name for a person"),
        ("@<b>", "&lt;b&gt;"),
    ],
)
def test_who_cannot_be_used_is_said_beside_the_field(giving, ready, value, words):
    before = ready.photo("you")
    view = giving.choose(ready, "you", value)
    assert list(view) == ["problem:photo-you"]
    assert words.lower() in view["problem:photo-you"].lower()
    assert ready.photo("you") is before


def test_a_damaged_file_is_offered_and_told_when_chosen(giving, session, store):
    shutil.copy(__file__, store.path("eve"))
    assert list_saved(store)["eve"] is None
    assert "problem" in giving.choose(session, "you", "@eve")["problem:photo-you"]
    assert session.photos == {}


def test_without_a_store_a_name_changes_nothing(studio, uploads, ready):
    assert Giving(studio.pipe, uploads).choose(ready, "you", "@anna") == {}


def test_a_saved_person_is_drawn(giving, studio, agreed, last):
    giving.choose(agreed, "you", "@anna")
    view = last(Portrait(studio).make(agreed, ONE))
    assert view["cards:portrait"].count("<li>") == 1
    drawn = agreed.results["portrait"][0].plan.people
    np.testing.assert_array_equal(
        drawn.embedding, make_identity(studio.pipe.identity_encoder, 1).embedding
    )


def test_a_saved_person_is_mixed_with_another(giving, studio, agreed):
    giving.choose(agreed, "you", "@anna")
    giving.choose(agreed, "other", "@ben")
    list(Mixing(studio).make(agreed, ONE, 30))
    anna, ben = (make_identity(studio.pipe.identity_encoder, seed) for seed in (1, 2))
    mixed = agreed.results["mixing"][0].plan.people
    np.testing.assert_allclose(mixed.embedding, anna.mix(ben, 0.3).embedding, rtol=1e-5)


def test_saved_people_stand_in_places_and_are_seen_there(giving, studio, agreed):
    people, chosen = People(studio), ["Your photo", "Person 2"]
    giving.choose(agreed, "you", "@anna")
    giving.choose(agreed, "second", "@ben")
    view = people.preview(agreed, chosen)
    assert "with a face: 1, 2" in view["scene"]
    list(people.make(agreed, ONE, chosen))
    assert len(agreed.results["people"][0].plan.people) == 2


def test_consent_counts_for_saved_people_too(giving, studio, session, last):
    giving.choose(session, "you", "@anna")
    assert "problem:consent" in last(Portrait(studio).make(session, ONE))
    assert session.results == {}
