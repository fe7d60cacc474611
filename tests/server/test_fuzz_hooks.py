"""Half of what schemathesis sends is made so that it reaches the drawing."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from facestudio.server.schemas import Generate

pytest.importorskip("schemathesis", reason="make fuzz-server installs it")

from benchmarks.fuzz_hooks import PERSON, map_body, map_path_parameters


def called(label: str) -> SimpleNamespace:
    operation = SimpleNamespace(label=label, method=label.partition(" ")[0].lower())
    return SimpleNamespace(operation=operation)


def test_every_second_job_needs_no_picture_and_the_others_stay():
    bodies = [{"style": "a.png" + n * "x", "seed": 3} for n in range(10)]
    sent = [map_body(called("POST /v1/generate"), body) for body in bodies]
    changed = [one for one, body in zip(sent, bodies, strict=True) if one != body]
    assert len(changed) == 5
    for body in changed:
        asked = Generate.model_validate(body)
        assert (asked.style, asked.seed, bool(asked.prompt)) == (None, 3, True)


@pytest.mark.parametrize("body", [None, "text", {"settings": "{}", "pictures": []}])
def test_bodies_of_other_forms_stay(body):
    assert map_body(called("POST /v1/generate"), body) == body
    assert map_body(called("POST /v1/identities"), {"name": "a"}) == {"name": "a"}


def test_somebody_who_is_known_is_asked_for_and_never_removed():
    names = ["a" * n for n in range(1, 9)]
    asked = [map_path_parameters(called("GET /v1/identities/{name}"), {"name": n}) for n in names]
    assert [one["name"] for one in asked].count(PERSON) == 4
    removed = map_path_parameters(called("DELETE /v1/identities/{name}"), {"name": PERSON})
    assert removed["name"] != PERSON
    assert map_path_parameters(called("GET /v1/jobs/{job_id}"), {"job_id": "1"}) == {"job_id": "1"}
