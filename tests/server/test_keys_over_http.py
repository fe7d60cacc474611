"""Who is let in, and that two API keys see nothing of each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from facestudio.errors import BadOption
from facestudio.server import folder
from facestudio.server.keys import KeyStore
from tests.server.conftest import ASKED, ask, serving


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def keys(settings):
    """The headers of two callers."""
    with folder.opening(settings) as database:
        store = KeyStore(database)
        return bearer(store.add("anna")), bearer(store.add("ben"))


def add_person(caller, name, photo, headers=None):
    files = [("pictures", ("photo.png", photo))]
    form = {"settings": f'{{"name": "{name}"}}'}
    return caller.post("/v1/identities", data=form, files=files, headers=headers)


def test_two_keys_see_nothing_of_each_other(keys, caller, photo, settings):
    anna, ben = keys
    assert add_person(caller, "me", photo, anna).status_code == 201
    job = ask(caller, {"identity": "@me", "prompt": "a hat"}, headers=anna, wait=True).json()
    path = f"/v1/jobs/{job['id']}"
    for headers in (ben, None):
        assert caller.get("/v1/identities", headers=headers).json() == {"identities": []}
        assert caller.get("/v1/jobs", headers=headers).json() == {"jobs": []}
        for method, url in [
            ("GET", path),
            ("GET", f"{path}/events"),
            ("GET", f"{path}/pictures/0"),
            ("POST", f"{path}/cancel"),
            ("DELETE", path),
            ("GET", "/v1/identities/me"),
            ("DELETE", "/v1/identities/me"),
        ]:
            answer = caller.request(method, url, headers=headers)
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
        used = ask(caller, {"identity": "@me", "prompt": "a hat"}, headers=headers)
        assert used.status_code == 404
    assert add_person(caller, "me", photo, ben).status_code == 201
    assert caller.delete("/v1/identities/me", headers=ben).status_code == 204
    assert caller.get("/v1/identities/me", headers=anna).status_code == 200
    assert caller.get(f"{path}/pictures/0", headers=anna).status_code == 200


def test_removing_a_key_removes_all_that_belongs_to_it(keys, caller, photo, settings):
    anna, ben = keys
    add_person(caller, "me", photo, anna)
    add_person(caller, "me", photo, ben)
    ask(caller, {"identity": "@me", "prompt": "a hat"}, headers=anna, wait=True)
    folder.remove_key(settings, "anna")
    assert caller.get("/v1/jobs", headers=anna).status_code == 401
    left = [str(path.relative_to(settings.folder)) for path in settings.folder.rglob("*")]
    assert not any(name.endswith(".png") or "anna" in name for name in left)
    assert "identities/ben/me.safetensors" in left


@pytest.mark.parametrize("given", ["Bearer wrong", "Basic YTpi", "Bearer", "fs_x"])
def test_a_wrong_key_is_refused_even_on_loopback(keys, caller, given):
    answer = caller.get("/v1/models", headers={"Authorization": given})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "not_allowed")
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:8000"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Host": ""},
    ],
)
def test_web_pages_of_elsewhere_do_not_get_in_without_a_key(keys, caller, headers):
    assert caller.get("/v1/jobs", headers=headers).status_code == 401
    assert caller.get("/v1/jobs", headers=headers | keys[0]).status_code == 200


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000"])
def test_this_machine_needs_no_key(caller, host):
    headers = {"Host": host, "Origin": "http://localhost:3000"}
    assert caller.get("/v1/jobs", headers=headers).status_code == 200


def test_elsewhere_everything_but_health_needs_a_key(keys, painter, settings):
    with serving(painter, replace(settings, host="0.0.0.0")) as caller:
        for path in ("/v1/jobs", "/v1/models", "/v1/identities", "/metrics"):
            assert caller.get(path).status_code == 401
            assert caller.get(path, headers=keys[0]).status_code == 200
        assert ask(caller, ASKED).status_code == 401
        assert caller.get("/health").status_code == 200


def test_a_server_that_needs_keys_does_not_start_without(settings, keys, tmp_path):
    folder.check_keys(settings)
    folder.check_keys(replace(settings, host="0.0.0.0"))
    with pytest.raises(BadOption, match="needs an API key, and there is none"):
        folder.check_keys(replace(settings, host="0.0.0.0", data=tmp_path / "other"))


def test_one_server_at_a_time_uses_a_folder(settings):
    with (
        folder.holding_folder(settings),
        pytest.raises(BadOption, match="already"),
        folder.holding_folder(settings),
    ):
        pass
    with folder.holding_folder(settings):
        pass
