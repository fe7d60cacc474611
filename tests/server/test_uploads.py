"""What is sent: limits in bytes, pixels and count; names, never paths; settings, strictly."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tests.server.conftest import ASKED, as_png, ask, make_picture, serving


@pytest.fixture
def strict(painter, settings):
    """A caller of a server that takes little."""
    little = replace(
        settings, max_upload_mb=0.2, max_megapixels=0.1, max_pictures=2, max_queue=2, max_images=2
    )
    with serving(painter, little) as caller:
        yield caller


def refusal(answer):
    assert answer.headers["content-type"] == "application/json"
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"promt": "a hat"}, "bad_option"),
        ({"alpha": 2}, "bad_option"),
        ({"alpha": "0.5"}, "bad_option"),
        ({"seed": -1}, "bad_option"),
        ({"seed": True}, "bad_option"),
        ({"guidance_scale": 1e400}, "bad_option"),
        ({"identity": []}, "bad_option"),
        ({"identity": {"mix": {}}}, "bad_option"),
        ({"height": 33}, "bad_option"),
        ({"height": 4096}, "bad_option"),
        ({"num_inference_steps": 101}, "bad_option"),
        ({"num_images_per_prompt": 9}, "bad_option"),
        ({"prompt": None}, "bad_option"),
        ({"strength": 0.5}, "bad_option"),
        ({"regions": [[0, 0, 1, 1], [0, 0, 1, 1]]}, "bad_region"),
        ({"identity": "ben.png"}, "missing_file"),
        ({"style": "/etc/passwd"}, "missing_file"),
        ({"style": "../anna.png"}, "missing_file"),
        ({"style": "http://127.0.0.1:8000/health"}, "missing_file"),
        ({"style": "file:///etc/passwd"}, "missing_file"),
        ({"style": "@anna"}, "bad_option"),
        ({"identity": None}, "bad_option"),
    ],
)
def test_settings_that_cannot_be_are_refused(caller, photo, change, code):
    assert refusal(ask(caller, ASKED | change, [("anna.png", photo)])) == (422, code)


@pytest.mark.parametrize("identity", ["@nobody", "@../../etc/passwd", "@", "@" + "x" * 150])
def test_people_who_are_not_saved_are_404(caller, identity):
    assert refusal(ask(caller, {"identity": identity, "prompt": "x"})) == (404, "not_found")


def test_no_file_of_the_server_is_opened(caller, photo, tmp_path):
    (tmp_path / "style.png").write_bytes(photo)
    named = {"prompt": "a hat", "style": str(tmp_path / "style.png")}
    assert refusal(ask(caller, named)) == (422, "missing_file")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"no picture", "not_a_picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not_a_picture"),
        (b"", "not_a_picture"),
        (as_png(make_picture(1))[:-400], "not_a_picture"),
    ],
)
def test_what_is_no_picture_is_refused_by_name(caller, data, code):
    answer = ask(caller, ASKED, [("anna.png", data)])
    assert refusal(answer) == (422, code)
    assert answer.json()["error"]["file"] == "anna.png"


def test_too_many_bytes_pixels_and_pictures_are_refused(strict, photo):
    large = as_png(make_picture(1, 400, 400))
    assert refusal(ask(strict, ASKED, [("anna.png", large)])) == (413, "too_large")
    assert refusal(ask(strict, ASKED, [("anna.png", bytes(300_000))])) == (413, "too_large")
    names = [(f"{number}.png", photo[:100]) for number in range(3)]
    assert refusal(ask(strict, ASKED, names)) == (413, "too_large")
    assert ask(strict, ASKED, [*names, ("4.png", photo)]).status_code == 400
    assert ask(strict, ASKED | {"num_images_per_prompt": 3}).status_code == 422


def test_too_many_bytes_are_refused_where_none_were_announced(strict):
    def endless():
        for _ in range(300):
            yield b" " * 1000

    headers = {"Content-Type": "application/json"}
    answer = strict.post("/v1/generate", content=endless(), headers=headers)
    assert refusal(answer) == (413, "too_large")


def test_a_length_that_is_no_number_is_refused(caller):
    headers = {"Content-Type": "application/json", "Content-Length": "many"}
    assert caller.post("/v1/generate", content=b"{}", headers=headers).status_code == 413


@pytest.mark.parametrize(
    ("name", "count"), [("@anna", 1), ("x" * 201, 1), ("anna.png", 2)], ids=["@", "long", "twice"]
)
def test_names_that_cannot_be_told_apart_are_refused(caller, photo, name, count):
    answer = ask(caller, ASKED, [(name, photo)] * count)
    assert refusal(answer) == (422, "bad_option")


def test_a_picture_that_nobody_asked_for_is_refused(caller, photo):
    answer = ask(caller, {"prompt": "a hat"}, [("anna.png", photo)])
    assert refusal(answer) == (422, "bad_option")
    assert "anna.png" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "sent",
    [
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
        {"content": b'{"prompt": "\\ud800"}', "headers": {"Content-Type": "application/json"}},
        {"content": b"prompt=x", "headers": {"Content-Type": "text/plain"}},
        {"data": {"settings": "{}", "more": "x"}},
        {"files": [("pictures", ("a.png", b"x"))]},
        {"files": [("settings", (None, "[]"))]},
        {"files": [("settings", (None, "{}")), ("settings", (None, "{}"))]},
    ],
    ids=["half", "surrogate", "text", "urlencoded", "no settings", "a list", "two settings"],
)
def test_bodies_of_another_form_are_refused(caller, sent):
    status, code = refusal(caller.post("/v1/generate", **sent))
    assert (status, code) in {(422, "bad_option"), (422, "not_a_picture")}


def test_a_full_queue_says_when_to_come_again(strict, photo, painter):
    painter.held = True
    answers = [ask(strict, {"prompt": "a hat"}) for _ in range(8)]
    full = [answer for answer in answers if answer.status_code == 429]
    assert 4 <= len(full) <= 6  # two wait, and one or two may have been taken up between
    assert 1 <= int(full[0].headers["retry-after"]) <= 60
    assert refusal(full[0]) == (429, "busy")
    first = next(answer for answer in answers[::-1] if answer.status_code == 202).json()
    strict.post(f"/v1/jobs/{first['id']}/cancel")
    assert ask(strict, {"prompt": "a hat"}).status_code == 202
    painter.held = False


def test_settings_may_come_as_a_file_of_the_form(caller):
    files = [("settings", ("s.json", json.dumps({"prompt": "a hat"}), "application/json"))]
    assert caller.post("/v1/generate", files=files).status_code == 202
