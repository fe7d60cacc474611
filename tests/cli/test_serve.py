"""`facestudio serve`: settings shown and refused, keys made and removed."""

from __future__ import annotations

import time

import pytest


def test_dry_run_prints_all_settings_after_all_changes(cli, at_home, monkeypatch):
    (at_home / "serve.toml").write_text("port = 1\nmax_queue = 2\n", "utf-8")
    monkeypatch.setenv("FACESTUDIO_SERVE_MAX_BATCH", "3")
    words = ["--config", "serve.toml", "--port", 9, "-s", "timeout_s=5", "--dry-run"]
    printed = cli("serve", *words).out
    for line in ("port = 9", "max_queue = 2", "max_batch = 3", "timeout_s = 5.0", 'model = "mini"'):
        assert line in printed.splitlines()


@pytest.mark.parametrize(
    "words", [["-s", "quue=1"], ["-s", "port=x"], ["--engine", "steam"], ["--replicas", 0]]
)
def test_unknown_settings_are_refused(cli, words):
    outcome = cli("serve", *words, "--dry-run")
    assert outcome.code == 2
    assert outcome.out == ""


def test_keys_are_shown_once_listed_by_name_and_removed(cli, at_home):
    assert "there is no key" in cli("serve", "list-keys").out
    key = cli("serve", "add-key", "phone", "--json").json["key"]
    listed = cli("serve", "list-keys", "--json").json["keys"]
    assert [facts["name"] for facts in listed] == ["phone"]
    assert listed[0]["created"] <= time.time()
    assert key not in cli("serve", "list-keys").out
    assert cli("serve", "add-key", "phone").code == 2
    assert cli("serve", "remove-key", "phone").code == 0
    assert cli("serve", "list-keys", "--json").json["keys"] == []
    assert cli("serve", "remove-key", "phone").code == 2


def test_keys_lie_where_the_server_is_told(cli, at_home):
    cli("serve", "--data", at_home / "elsewhere", "add-key", "phone")
    assert (at_home / "elsewhere" / "server.sqlite").is_file()
    assert cli("serve", "list-keys", "--json").json["keys"] == []


def test_an_open_address_without_keys_is_refused(cli, at_home):
    outcome = cli("serve", "--host", "0.0.0.0", "--port", 0)
    assert outcome.code == 2
    assert "facestudio serve add-key" in outcome.err


def test_a_model_that_is_not_there_ends_the_server(cli, at_home):
    outcome = cli("serve", "--model", "nowhere", "--port", 0)
    assert outcome.code == 4
    assert "nowhere" in outcome.err
