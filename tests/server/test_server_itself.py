"""Readiness, figures, the OpenAPI document, the log, and failures that are the server's."""

from __future__ import annotations

import threading

import pytest
from fastapi.testclient import TestClient

from facestudio.errors import BadModel
from facestudio.server.app import make_app
from facestudio.server.engine import LocalEngine
from tests.server.conftest import ASKED, HERE, ask, fail, serving, wait_until

WORDS = "a man smiling"


def test_it_is_healthy_before_it_is_ready(painter, settings):
    loaded = threading.Event()

    def load():
        loaded.wait(60)
        return painter

    app = make_app(settings, LocalEngine(load), fail)
    with TestClient(app, base_url=HERE) as caller:
        assert caller.get("/health").json() == {"status": "ok"}
        starting = caller.get("/ready")
        assert (starting.status_code, starting.json()) == (503, {"status": "starting"})
        assert ask(caller, {"prompt": "a hat"}).status_code == 503
        loaded.set()
        wait_until(lambda: caller.get("/ready").status_code == 200)


def test_a_model_that_does_not_load_is_told(settings):
    def load():
        raise BadModel("broken")

    failures = []
    with TestClient(make_app(settings, LocalEngine(load), failures.append), base_url=HERE):
        wait_until(lambda: bool(failures))
    assert isinstance(failures[0], BadModel)


def test_models_tell_what_they_allow(caller):
    (model,) = caller.get("/v1/models").json()["models"]
    assert (model["name"], model["encoder"], model["height"]) == ("tiny", "tiny@1", 32)
    assert (model["takes_words"], model["num_inference_steps"]) == (True, 3)


def test_figures_count_requests_jobs_and_batches(caller, photo):
    ask(caller, ASKED, [("anna.png", photo)], wait=True)
    caller.get("/v1/jobs/x")
    caller.get("/nowhere/anna")
    text = caller.get("/metrics").text
    counted = 'facestudio_requests_total{method="POST",route="/v1/generate",status="200"} 1.0'
    assert counted in text
    assert 'facestudio_jobs_total{code="",status="done"} 1.0' in text
    assert "facestudio_pictures_total 1.0" in text
    assert "facestudio_batch_jobs_count 1.0" in text
    assert "facestudio_jobs_waiting 0.0" in text
    assert "anna" not in text


def test_the_document_has_every_route_with_bodies_and_examples(caller):
    document = caller.get("/openapi.json").json()
    assert set(document["paths"]) == {
        "/v1/generate",
        "/v1/jobs",
        "/v1/jobs/{job_id}",
        "/v1/jobs/{job_id}/events",
        "/v1/jobs/{job_id}/pictures/{number}",
        "/v1/jobs/{job_id}/cancel",
        "/v1/faces",
        "/v1/identities",
        "/v1/identities/{name}",
        "/v1/identities/{name}/preview",
        "/v1/models",
        "/health",
        "/ready",
        "/metrics",
    }
    body = document["paths"]["/v1/generate"]["post"]["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "application/json"}
    for example in body["application/json"]["examples"].values():
        assert example["value"]
    assert references(document) <= {
        f"#/components/schemas/{name}" for name in document["components"]["schemas"]
    }
    assert "Mix" in document["components"]["schemas"]


def test_the_document_says_what_an_answer_leads_to_and_what_an_event_holds(caller):
    paths = caller.get("/openapi.json").json()["paths"]
    operations = {way["operationId"] for ways in paths.values() for way in ways.values()}
    answers = [
        paths[path]["post"]["responses"][status]
        for path, status in [("/v1/generate", "202"), ("/v1/generate", "200")]
    ] + [paths["/v1/identities"]["post"]["responses"]["201"]]
    for answer in answers:
        assert answer["content"]["application/json"]["schema"]
        assert {link["operationId"] for link in answer["links"].values()} <= operations
    watched = paths["/v1/jobs/{job_id}/events"]["get"]["responses"]["200"]["content"]
    assert watched["text/event-stream"]["schema"]["required"] == ["event", "data"]


def references(part) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*map(references, part.values()))
    return set().union(*map(references, part)) if isinstance(part, list) else set()


def test_every_answer_may_not_be_kept_by_others(caller):
    headers = caller.get("/v1/jobs").headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/v1/jobs", 405)]
)
def test_wrong_addresses_and_methods_have_the_same_form(caller, method, path, status):
    answer = caller.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_a_fault_of_the_server_is_told_and_logged_without_what_was_written(
    painter, settings, pipe, monkeypatch, caplog
):
    def break_down(*_):
        raise RuntimeError(WORDS)

    monkeypatch.setattr(pipe.codec, "decode", break_down)
    with serving(painter, settings) as caller:
        answer = ask(caller, {"prompt": WORDS}, wait=True)
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "server_fault")
        assert "RuntimeError" in answer.json()["error"]["message"]
        monkeypatch.undo()
        assert ask(caller, {"prompt": WORDS}, wait=True).status_code == 200
    assert "RuntimeError" in caplog.text
    assert "smiling" not in caplog.text
    assert "smiling" not in answer.text


def test_the_log_holds_no_picture_no_embedding_and_no_words(caller, photo, caplog):
    job = ask(caller, ASKED, [("anna.png", photo)], wait=True).json()
    caller.get(job["pictures"][0]["url"])
    assert "POST /v1/generate 200" in caplog.text
    assert "GET /v1/jobs/{job_id}/pictures/{number} 200" in caplog.text
    for secret in ("anna", "smiling", "PNG", job["id"], "embedding"):
        assert secret not in caplog.text
