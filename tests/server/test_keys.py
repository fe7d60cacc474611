"""API keys: known by their hash alone."""

from __future__ import annotations

import pytest

from facestudio.errors import BadOption
from facestudio.server.database import Database
from facestudio.server.keys import KeyStore


@pytest.fixture
def keys(tmp_path):
    database = Database(tmp_path / "server.sqlite")
    yield KeyStore(database)
    database.close()


def test_a_key_opens_for_its_owner_alone(keys):
    anna, ben = keys.add("anna"), keys.add("ben")
    assert (keys.owner(anna), keys.owner(ben)) == ("anna", "ben")
    assert anna != ben
    assert [facts.name for facts in keys.list()] == ["anna", "ben"]


@pytest.mark.parametrize("wrong", ["", "fs_", "anna", "x" * 5000, "fs_é\udc80"])
def test_anything_else_opens_for_nobody(keys, wrong):
    key = keys.add("anna")
    assert keys.owner(wrong) is None
    assert keys.owner(key + "x") is None
    assert keys.owner(key[:-1]) is None


def test_the_key_is_not_on_disk(keys, tmp_path):
    key = keys.add("anna")
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"anna" in stored
    assert key.encode() not in stored
    assert key.removeprefix("fs_").encode() not in stored


def test_a_removed_key_opens_no_more_and_leaves_nothing(keys, tmp_path):
    key = keys.add("somebody")
    keys.remove("somebody")
    assert keys.owner(key) is None
    assert b"somebody" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize("name", ["local", "", "a b", "../x", "anna"])
def test_names_that_are_none_or_taken_are_refused(keys, name):
    keys.add("anna")
    with pytest.raises(BadOption):
        keys.add(name)


def test_removing_nobody_names_who_is_there(keys):
    keys.add("anna")
    with pytest.raises(BadOption, match="keys are: anna"):
        keys.remove("ben")
