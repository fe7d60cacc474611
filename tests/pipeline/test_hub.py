"""Files of others: here first, then the hub, and what is said where neither has them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

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
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", lambda *_, **__: None)
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
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", lambda *_, **__: None)
    with pytest.raises(MissingWeights, match=r"adapter: .*no route") as caught:
        fetch_folder("owner/name", ["a.bin"], what="adapter")
    assert "get a.bin from https://huggingface.co/owner/name" in caught.value.hint


SILENT = """
import time
from facestudio.errors import MissingWeights
from facestudio.pipeline import hub
hub.ANSWER_S, started = 0.5, time.perf_counter()
try:
    hub.fetch_folder("owner/name", ["a.bin"], what="adapter")
except MissingWeights as problem:
    print(time.perf_counter() - started, problem)
"""


def test_a_network_that_swallows_what_is_sent_is_not_waited_for(tmp_path):
    """In a process of its own: the hub's address is read when its client is imported."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes calls and says nothing
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        told = subprocess.run(
            [sys.executable, "-c", SILENT],
            env=os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
    seconds, _, message = told.partition(" ")
    assert float(seconds) < 20
    assert "adapter: no folder owner/name here, and the hub did not give it: " in message


def test_what_was_fetched_before_serves_where_the_hub_is_silent(hub, monkeypatch):
    def repo_info(*_, **__):
        raise TimeoutError

    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", repo_info)
    assert fetch_folder("owner/name", ["*"]) == hub[0]
    assert hub[1] == [("owner/name", ["*"], {"local_files_only": True})]
