"""Drawings: events in order, previews, a stop that works at once."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from facestudio.errors import BadOption
from facestudio.images import read_metadata
from facestudio.web.studio import Plan, Progress, Variant


def plans(count=2, **options):
    words = {"prompt": "a woman in an ink drawing"} | options
    return [Plan(None, words, seed=5 + i, title=f"number {i}") for i in range(count)]


def test_pictures_come_in_order_with_progress_before(studio):
    events = list(studio.start(plans(2)))
    variants = [event for event in events if isinstance(event, Variant)]
    assert [variant.plan.seed for variant in variants] == [5, 6]
    assert isinstance(events[0], Progress)
    assert (events[0].number, events[0].total, events[0].share) == (0, 2, 0.0)
    assert any(isinstance(e, Progress) and e.preview is not None for e in events)


def test_a_variant_is_what_the_pipeline_draws(studio):
    (variant,) = [e for e in studio.start(plans(1)) if isinstance(e, Variant)]
    alone = studio.pipe(None, prompt="a woman in an ink drawing", seed=5).images[0]
    assert variant.image.tobytes() == alone.tobytes()


def test_the_png_holds_picture_and_settings(studio, tmp_path):
    (variant,) = [e for e in studio.start(plans(1)) if isinstance(e, Variant)]
    (tmp_path / "made.png").write_bytes(variant.png)
    assert Image.open(io.BytesIO(variant.png)).tobytes() == variant.image.tobytes()
    settings = read_metadata(tmp_path / "made.png")
    assert settings["seed"] == 5
    assert settings["prompt"] == "a woman in an ink drawing"


def test_cancel_ends_the_events_and_the_drawing(studio):
    drawing = studio.start(plans(50))
    events = iter(drawing)
    next(events)
    drawing.cancel()
    assert list(events) == []
    assert drawing.cancelled
    drawing.join(30)
    assert not drawing._thread.is_alive()


def test_turning_away_stops_the_drawing(studio):
    drawing = studio.start(plans(50))
    events = iter(drawing)
    next(events)
    events.close()
    drawing.join(30)
    assert drawing.cancelled
    assert not drawing._thread.is_alive()


def test_the_next_drawing_waits_for_the_first(studio):
    studio._turn.acquire()
    second = studio.start(plans(1))
    events = iter(second)
    waiting = next(events)
    assert waiting.waiting
    studio._turn.release()
    assert any(isinstance(event, Variant) for event in events)


def test_who_waits_may_cancel(studio):
    with studio._turn:
        drawing = studio.start(plans(1))
        assert next(iter(drawing)).waiting
        drawing.cancel()
        drawing.join(30)
        assert not drawing._thread.is_alive()


def test_errors_of_the_pipeline_reach_who_watches(studio):
    with pytest.raises(BadOption, match="alpha"):
        list(studio.start(plans(1, alpha=7)))
    assert any(isinstance(event, Variant) for event in studio.start(plans(1)))
