"""Files of others: here first, then the hub, and what is said where neither has them."""

from __future__ import annotations

import huggingface_hub
import pytest

from facestudio.errors import MissingWeights
from facestudio.pipeline.hub import fetch_folder, find_file, find_folder


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub that answers with a folder and keeps what it was asked."""
    asked = []
    folder = tmp_path / "cache"
    folder.mkdir()

    def snapshot_download(name, allow_patterns, **options):
        asked.append((name, allow_patterns, options))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return folder, asked


def test_what_is_here_is_not_asked_for(hub, tmp_path):
    place = tmp_path / "owner"
    (place / "name").mkdir(parents=True)
    (place / "name/config.json").touch()
    found = find_folder(str(place / "name"), "tower", ["*"], marker="config.json")
    assert found == place / "name"
    assert find_file(str(place / "name/config.json"), "tower", ["a"]) == found / "config.json"
    assert find_file(str(place / "name"), "tower", ["a", "config.json"]).name == "config.json"
    assert not hub[1]


def test_a_hub_is_asked_for_what_is_needed(hub):
    folder, asked = hub
    (folder / "a.bin").touch()
    assert find_file("owner/name", "adapter", ["a.bin", "b.bin"], beside=["c"]) == folder / "a.bin"
    assert asked == [("owner/name", ["a.bin", "c"], {})]


def test_offline_the_hub_is_not_asked_over_the_network(hub):
    fetch_folder("owner/name", ["*"], offline=True)
    assert hub[1][0][2] == {"local_files_only": True}


def test_an_incomplete_folder_is_named(tmp_path):
    with pytest.raises(MissingWeights, match=r"is no tower: config\.json is missing"):
        find_folder(str(tmp_path), "tower", ["*"], marker="config.json")
    with pytest.raises(MissingWeights, match=r"no a\.bin or b\.bin in"):
        find_file(str(tmp_path), "adapter", ["a.bin", "b.bin"])


@pytest.mark.parametrize("name", ["/no/such/folder", "one word", "a/b/c"])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(MissingWeights, match="neither here nor a name on the hub"):
        find_file(name, "adapter", ["a"])


def test_a_hub_that_does_not_answer_says_how_to_get_it(monkeypatch):
    def snapshot_download(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(MissingWeights, match=r"adapter: .*no route") as caught:
        fetch_folder("owner/name", ["a.bin"], what="adapter")
    assert "get a.bin from https://huggingface.co/owner/name" in caught.value.hint
