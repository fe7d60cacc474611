"""Ask, watch, fetch, cancel, delete."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.pipeline.conftest import TinyDetector, make_picture
from tests.server.conftest import (
    ASKED,
    PATIENCE_S,
    GivenChecker,
    as_png,
    ask,
    finish,
    serving,
    wait_until,
)


def read(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=int)


def test_a_photo_and_words_become_a_picture(caller, photo, pipe):
    answer = ask(caller, ASKED, [("anna.png", photo)])
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    done = finish(caller, job)
    (picture,) = done["pictures"]
    assert (done["progress"]["status"], picture["seed"], done["error"]) == ("done", 1, None)
    assert len(picture["likeness"]) == 1
    drawn = caller.get(picture["url"])
    assert drawn.headers["content-type"] == "image/png"
    alone = pipe(Image.open(io.BytesIO(photo)), prompt="a man smiling", seed=1).images[0]
    assert np.abs(read(drawn.content) - np.asarray(alone, dtype=int)).max() <= 1
    assert done["settings"]["prompt"] == "a man smiling"


def test_waiting_gives_the_finished_job_at_once(caller, photo):
    answer = ask(caller, ASKED | {"num_images_per_prompt": 2}, [("anna.png", photo)], wait=True)
    assert answer.status_code == 200
    assert [picture["seed"] for picture in answer.json()["pictures"]] == [1, 2]


def test_events_tell_the_place_the_steps_and_the_end(caller, photo, painter):
    painter.held = True
    first = ask(caller, ASKED, [("anna.png", photo)]).json()
    wait_until(lambda: len(painter.batches) == 1)
    second = ask(caller, ASKED | {"seed": 2}, [("anna.png", photo)]).json()
    assert second["progress"] == {"status": "queued", "position": 1, "step": 0, "steps": None}
    painter.held = False
    events = read_events(caller.get(f"/v1/jobs/{second['id']}/events").text)
    name, last = events[-1]
    assert (name, last["progress"]["status"], len(last["pictures"])) == ("end", "done", 1)
    assert all(name == "progress" for name, _ in events[:-1])
    assert finish(caller, first)["pictures"]


def read_events(text: str) -> list[tuple[str, dict]]:
    events = []
    for block in text.replace("\r\n", "\n").strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "data" in fields:
            events.append((fields["event"], json.loads(fields["data"])))
    return events


def test_requests_of_one_shape_are_drawn_together_and_each_gets_its_own(caller, photo, painter):
    painter.held = True
    first = ask(caller, ASKED, [("anna.png", photo)]).json()
    wait_until(lambda: len(painter.batches) == 1)
    jobs = [ask(caller, ASKED | {"seed": seed}, [("anna.png", photo)]).json() for seed in (2, 3)]
    other = ask(caller, ASKED | {"width": 64}, [("anna.png", photo)]).json()
    two = {"seed": 4, "num_images_per_prompt": 2}
    last = ask(caller, ASKED | two, [("anna.png", photo)]).json()
    painter.held = False
    done = [finish(caller, job) for job in (*jobs, last)]
    finish(caller, other)
    together = [job["id"] for job in (*jobs, last)]
    assert painter.batches == [[first["id"]], together, [other["id"]]]
    assert [job["pictures"][0]["seed"] for job in done] == [2, 3, 4]
    drawn = [read(caller.get(job["pictures"][0]["url"]).content) for job in done]
    assert np.abs(drawn[0] - drawn[1]).max() > 8


def test_after_a_batch_of_two_jobs_two_are_waited_for_and_no_more(painter, settings):
    """The wait is over a minute long where nothing ends it."""
    patient = replace(settings, batch_wait_ms=2 * PATIENCE_S * 1000, max_batch=3)
    with serving(painter, patient) as caller:
        jobs = [
            ask(caller, {"prompt": "a hat", "seed": seed, "num_images_per_prompt": count}).json()
            for seed, count in ((1, 1), (2, 2), (5, 1), (6, 1))
        ]
        for job in jobs:
            assert finish(caller, job)["error"] is None
    first, second = jobs[:2], jobs[2:]
    assert painter.batches == [[job["id"] for job in pair] for pair in (first, second)]


def test_a_photo_without_a_face_fails_alone_in_its_batch(caller, photo, painter, pipe, seeing):
    painter.held = True
    ask(caller, ASKED, [("anna.png", photo)])
    wait_until(lambda: len(painter.batches) == 1)
    good = ask(caller, {"prompt": "a hat", "seed": 2}).json()
    bad = ask(caller, ASKED, [("anna.png", photo)]).json()
    pipe.detector = seeing()
    painter.held = False
    assert finish(caller, good)["progress"]["status"] == "done"
    failed = finish(caller, bad)
    assert (failed["error"]["code"], failed["error"]["file"]) == ("no_face", "anna.png")
    assert failed["pictures"] == []


@pytest.mark.filterwarnings("ignore::facestudio.provenance.content.ContentWarning")
def test_a_picture_that_is_withheld_is_told_in_words_and_kept_nowhere(caller, pipe, settings):
    pipe.content_checker = GivenChecker(True, False)
    asked = {"prompt": "a hat", "seed": 1, "num_images_per_prompt": 2}
    job = ask(caller, asked, wait=True).json()
    hidden, shown = job["pictures"]
    assert (hidden["url"], hidden["withheld"], hidden["seed"]) == (None, "explicit", 1)
    assert (shown["withheld"], caller.get(shown["url"]).status_code) == (None, 200)
    refused = caller.get(shown["url"].replace("pictures/1", "pictures/0"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "withheld")
    assert [path.name for path in settings.folder.rglob("*.png")] == ["1.png"]


@pytest.mark.filterwarnings("ignore::facestudio.provenance.content.ContentWarning")
def test_a_job_whose_pictures_are_all_withheld_fails_with_the_reason(caller, pipe, settings):
    pipe.content_checker = GivenChecker(True)
    answer = ask(caller, {"prompt": "a hat"}, wait=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "withheld")
    assert "explicit" in answer.json()["error"]["message"]
    (job,) = caller.get("/v1/jobs").json()["jobs"]
    assert (job["progress"]["status"], job["pictures"]) == ("failed", [])
    assert not list(settings.folder.rglob("*.png"))


def test_a_failure_is_the_answer_to_whoever_waits(caller, photo, pipe, seeing):
    pipe.detector = seeing(0.2, 0.8)
    answer = ask(caller, ASKED, [("anna.png", photo)], wait=True)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "several_faces"
    assert len(answer.json()["error"]["boxes"]) == 2
    assert ask(caller, ASKED | {"largest": True}, [("anna.png", photo)], wait=True).is_success


@pytest.mark.parametrize(
    "asked",
    [
        {"identity": ["a.png", "b.png"], "prompt": "a hat",
         "regions": [[0, 0, 0.5, 1], [0.5, 0, 1, 1]]},
        {"identity": {"photos": ["a.png", "b.png"]}, "prompt": "a hat"},
        {"identity": {"mix": {"a.png": 0.7, "b.png": 0.3}}, "prompt": "a hat"},
        {"identity": "a.png", "style": "b.png"},
        {"identity": "a.png", "image": "b.png", "strength": 0.5, "prompt": "a hat"},
        {"identity": ["a.png", None][0], "style": "b.png", "prompt": "a hat", "alpha": 0.3},
    ],
)  # fmt: skip
def test_every_shape_of_call_draws(caller, photo, asked):
    answer = ask(caller, asked, [("a.png", photo), ("b.png", photo)], wait=True)
    assert answer.status_code == 200, answer.text


def test_nobody_needs_no_picture(caller):
    assert ask(caller, {"prompt": "a hat"}, wait=True).status_code == 200


def test_several_people_get_a_portrait_each_as_far_as_the_server_allows(
    pipe, painter, photo, settings
):
    pipe.config, pipe.detector = replace(pipe.config, portrait=True), TinyDetector(0.25, 0.75)
    couple = {"identity": ["anna.png", "anna.png"], "largest": True, "seed": 1}
    anna, wide = ("anna.png", photo), ("wide.png", as_png(make_picture(1, 400, 100)))
    with serving(painter, settings) as caller:
        for more, sent, size in [
            ({"prompt": "a hat"}, [anna], (64, 32)),
            ({"style": "anna.png"}, [anna], (64, 32)),
            ({"style": "wide.png", "background": "fixed"}, [anna, wide], (64, 16)),
        ]:
            job = ask(caller, couple | more, sent, wait=True).json()
            drawn = caller.get(job["pictures"][0]["url"]).content
            assert Image.open(io.BytesIO(drawn)).size == size
        three = ask(caller, {"identity": ["anna.png"] * 3, "prompt": "a hat"}, [anna])
        assert three.status_code == 422
        assert "width=96" in three.json()["error"]["message"]


def test_cancelling_frees_the_place_at_once(caller, photo, painter):
    painter.held = True
    job = ask(caller, ASKED, [("anna.png", photo)]).json()
    wait_until(lambda: len(painter.batches) == 1)
    cancelled = caller.post(f"/v1/jobs/{job['id']}/cancel").json()
    assert cancelled["progress"]["status"] == "cancelled"
    assert cancelled["error"]["code"] == "cancelled"
    painter.held = False
    assert ask(caller, ASKED, [("anna.png", photo)], wait=True).status_code == 200
    again = caller.post(f"/v1/jobs/{job['id']}/cancel").json()
    assert again["progress"]["status"] == "cancelled"


def test_a_deadline_ends_a_job(caller, photo, painter):
    painter.held = True
    answer = ask(caller, ASKED | {"timeout_s": 0.05}, [("anna.png", photo)], wait=True)
    assert (answer.status_code, answer.json()["error"]["code"]) == (408, "deadline_passed")
    painter.held = False
    assert ask(caller, ASKED, [("anna.png", photo)], wait=True).status_code == 200


def test_what_is_deleted_is_gone_from_disk(caller, photo, settings):
    marked = ASKED | {"prompt": "a man in an ink drawing"}
    job = ask(caller, marked, [("anna.png", photo)], wait=True).json()
    files = [path for path in settings.folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".png" for path in files)
    assert not any(path.read_bytes() == photo for path in files), "the photo is kept"
    assert caller.delete(f"/v1/jobs/{job['id']}").status_code == 204
    for path in settings.folder.rglob("*"):
        assert path.is_dir() or b"in an ink drawing" not in path.read_bytes()
        assert path.suffix != ".png"
    assert caller.get(f"/v1/jobs/{job['id']}").status_code == 404
    assert caller.get(job["pictures"][0]["url"]).status_code == 404
    assert caller.get("/v1/jobs").json() == {"jobs": []}


def test_deleting_while_it_is_drawn_leaves_nothing(caller, photo, painter, settings):
    painter.held = True
    job = ask(caller, ASKED, [("anna.png", photo)]).json()
    wait_until(lambda: len(painter.batches) == 1)
    assert caller.delete(f"/v1/jobs/{job['id']}").status_code == 204
    painter.held = False
    ask(caller, ASKED, [("anna.png", photo)], wait=True)
    assert not (settings.folder / "jobs" / job["id"]).exists()


def test_jobs_are_listed_newest_first(caller):
    ids = [ask(caller, {"prompt": "a hat"}).json()["id"] for _ in range(3)]
    listed = [job["id"] for job in caller.get("/v1/jobs", params={"limit": 2}).json()["jobs"]]
    assert listed == ids[:0:-1]


@pytest.mark.parametrize("path", ["", "/events", "/pictures/0"])
def test_no_such_job_is_404(caller, path):
    answer = caller.get(f"/v1/jobs/{'0' * 24}{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
