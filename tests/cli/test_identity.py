"""`facestudio identity`: add, list, show, remove."""

import stat
from pathlib import Path

import pytest

from facestudio.images import read_metadata


@pytest.fixture
def add(cli, model):
    return lambda *words: cli("identity", "add", *words, "--model", model)


def test_from_adding_to_removing(add, cli, astronaut):
    assert "nobody" in cli("identity", "list").out
    done = add("anna", astronaut, astronaut)
    assert done.code == 0
    assert "anna.safetensors" in done.out
    assert "@anna" in cli("identity", "list").out
    assert "2" in cli("identity", "show", "anna").out
    assert cli("identity", "remove", "anna").code == 0
    assert list(Path("home").rglob("*.safetensors")) == []


def test_json_forms(add, cli, astronaut):
    person = add("anna", astronaut, "--json").json["identity"]
    assert set(person) == {
        "name", "photos", "encoder", "numbers", "path",
        "preview", "lowest_similarity", "qualities", "warnings",
    }  # fmt: skip
    assert set(person["qualities"][0]) == {"face_px", "sharpness", "turn"}
    assert (person["name"], person["photos"], person["encoder"]) == ("anna", 1, "tiny@1")
    assert cli("identity", "list", "--json").json["identities"] == [person]
    assert cli("identity", "show", "anna", "--json").json["identity"] == person
    assert cli("identity", "remove", "anna", "--json").json == {"ok": True, "removed": "anna"}


def test_only_the_user_may_read_it_and_no_photo_is_in_it(add, astronaut):
    assert add("anna", astronaut).code == 0
    (path,) = Path("home").rglob("*.safetensors")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.stat().st_size < 10_000


def test_a_name_is_taken_once(add, astronaut):
    assert add("anna", astronaut).code == 0
    again = add("anna", astronaut, "--json")
    assert (again.code, again.json["error"]["code"]) == (2, "bad_option")
    assert "--force" in again.json["error"]["hint"]
    assert add("anna", astronaut, "--force").code == 0


@pytest.mark.parametrize("name", ["../anna", "a/b", ".anna", "", "a" * 65, "a b"])
def test_names_that_are_none(add, astronaut, name):
    answer = add(name, astronaut, "--json")
    assert (answer.code, answer.json["error"]["code"]) == (2, "bad_option")


def test_the_preview_is_generated_and_can_be_seen(add, cli, astronaut):
    assert add("anna", astronaut).code == 0
    assert cli("identity", "show", "anna", "--preview", "anna.png").code == 0
    assert read_metadata("anna.png") == {"generated": True}
    assert add("ben", astronaut, "--no-preview", "--json").json["identity"]["preview"] is False
    answer = cli("identity", "show", "ben", "--preview", "ben.png", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (2, "bad_option")
    assert not Path("ben.png").exists()


def test_photos_of_two_people_warn(add, cli, astronaut, monkeypatch):
    monkeypatch.setattr("facestudio.identities.profile.STRANGERS", 1.1)
    done = add("anna", astronaut, astronaut, "--no-preview")
    assert done.code == 0
    assert "warning: photos 1 and 2 look like two people (similarity 1.00" in done.err
    assert "two people" in cli("identity", "show", "anna", "--json").json["identity"]["warnings"][0]


@pytest.mark.parametrize("verb", ["show", "remove"])
def test_nobody_of_that_name(add, cli, astronaut, verb):
    assert add("anna", astronaut).code == 0
    answer = cli("identity", verb, "ann", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (2, "bad_option")
    assert "anna" in answer.json["error"]["hint"]


def test_a_photo_that_is_missing(add, cli):
    answer = add("anna", "no.jpg", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "missing_file")
    assert cli("identity", "list", "--json").json["identities"] == []


def test_a_damaged_file_is_told(cli, add, astronaut):
    assert add("anna", astronaut).code == 0
    next(Path("home").rglob("*.safetensors")).write_bytes(b"no")
    answer = cli("identity", "show", "anna", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (4, "bad_model")
