"""Faces in a picture and saved people."""

from __future__ import annotations

import json

import pytest

from facestudio.identities.store import IdentityStore
from facestudio.server.painter import Painter
from tests.server.conftest import ask


def add(caller, settings, *photos):
    files = [("pictures", (f"{number}.png", data)) for number, data in enumerate(photos)]
    return caller.post("/v1/identities", data={"settings": json.dumps(settings)}, files=files)


def test_faces_are_told_left_to_right(caller, photo, pipe, seeing):
    pipe.detector = seeing(0.75, 0.2)
    answer = caller.post("/v1/faces", files=[("pictures", ("a.png", photo))])
    found = answer.json()
    assert (answer.status_code, found["width"], found["height"]) == (200, 240, 240)
    assert [face["box"] for face in found["faces"]] == [[18, 90, 78, 150], [150, 90, 210, 150]]
    assert all(len(face["points"]) == 5 and face["usable"] for face in found["faces"])


def test_a_picture_of_nobody_has_no_faces(caller, photo, pipe, seeing):
    pipe.detector = seeing()
    assert caller.post("/v1/faces", files=[("pictures", ("a.png", photo))]).json()["faces"] == []


def test_faces_takes_one_picture_and_nothing_else(caller, photo):
    two = [("pictures", ("a.png", photo)), ("pictures", ("b.png", photo))]
    assert caller.post("/v1/faces", files=two).status_code == 422
    with_settings = {"data": {"settings": "{}"}, "files": two[:1]}
    assert caller.post("/v1/faces", **with_settings).status_code == 422
    assert caller.post("/v1/faces", files=[("pictures", ("a.png", b"x"))]).status_code == 422


def test_a_person_is_saved_used_and_removed(caller, photo):
    answer = add(caller, {"name": "anna"}, photo, photo)
    assert answer.status_code == 201
    facts = answer.json()
    assert (facts["name"], facts["encoder"], facts["photos"]) == ("anna", "tiny@1", 2)
    assert len(facts["qualities"]) == 2
    assert facts["lowest_similarity"] == pytest.approx(1, abs=1e-3)
    assert caller.get("/v1/identities").json()["identities"] == [facts]
    preview = caller.get(facts["preview"])
    assert (preview.status_code, preview.headers["content-type"]) == (200, "image/png")
    assert IdentityStore().names() == ["anna"]
    drawn = ask(caller, {"identity": "@anna", "prompt": "a hat"}, wait=True)
    assert drawn.status_code == 200
    assert caller.delete("/v1/identities/anna").status_code == 204
    assert IdentityStore().names() == []
    assert caller.get("/v1/identities/anna").status_code == 404


def test_a_name_is_taken_until_it_may_be_replaced(caller, photo):
    assert add(caller, {"name": "anna"}, photo).status_code == 201
    assert add(caller, {"name": "anna"}, photo).status_code == 422
    assert add(caller, {"name": "anna", "replace": True}, photo).status_code == 201


@pytest.mark.parametrize("name", ["", "../anna", "@anna", "a b", "x" * 65, "ä"])
def test_names_that_are_none_are_refused(caller, photo, name):
    assert add(caller, {"name": name}, photo).status_code == 422


def test_photos_without_one_face_are_refused(caller, photo, pipe, seeing):
    pipe.detector = seeing()
    answer = add(caller, {"name": "anna"}, photo)
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "no_face")
    assert answer.json()["error"]["file"] == "0.png"
    assert add(caller, {"name": "anna"}).status_code == 422
    assert IdentityStore().names() == []


def test_someone_removed_while_their_job_waits_ends_it(caller, photo, painter):
    add(caller, {"name": "anna"}, photo)
    painter.held = True
    ask(caller, {"prompt": "a hat"})
    answer = ask(caller, {"identity": "@anna", "prompt": "a hat", "width": 64}).json()
    caller.delete("/v1/identities/anna")
    painter.held = False
    with caller.stream("GET", f"/v1/jobs/{answer['id']}/events") as events:
        events.read()
    job = caller.get(f"/v1/jobs/{answer['id']}").json()
    assert (job["progress"]["status"], job["error"]["code"]) == ("failed", "not_found")


def test_what_is_deleted_is_gone_from_disk_and_memory(caller, photo, pipe, settings, at_home):
    add(caller, {"name": "anna"}, photo)
    embedding = IdentityStore().load("anna").embedding.tobytes()
    job = ask(
        caller, {"identity": "a.png", "prompt": "a hat"}, [("a.png", photo)], wait=True
    ).json()
    assert len(pipe.embed_cache)
    assert files_with(at_home, embedding)
    assert caller.delete("/v1/identities/anna").status_code == 204
    assert not len(pipe.embed_cache)
    assert not files_with(at_home, embedding)
    ask(caller, {"identity": "a.png", "prompt": "a hat"}, [("a.png", photo)], wait=True)
    assert len(pipe.embed_cache)
    assert caller.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert not len(pipe.embed_cache)
    assert not files_with(at_home, job["id"].encode())
    assert not (settings.folder / "jobs" / job["id"]).exists()


def files_with(folder, data: bytes) -> list[str]:
    """The files below the folder that hold these bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path.name for path in files if data in path.read_bytes()]


def test_a_person_who_is_replaced_is_forgotten(caller, photo, pipe):
    add(caller, {"name": "anna"}, photo)
    ask(caller, {"identity": "a.png", "prompt": "a hat"}, [("a.png", photo)], wait=True)
    assert len(pipe.embed_cache)
    assert add(caller, {"name": "anna", "replace": True}, photo).status_code == 201
    assert not len(pipe.embed_cache)


def test_a_painter_may_remember_nobody(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "tiny")
    assert Painter.load(str(tmp_path / "tiny"))._pipe.embed_cache.capacity > 0
    assert Painter.load(str(tmp_path / "tiny"), remember=False)._pipe.embed_cache.capacity == 0
