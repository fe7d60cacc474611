"""From the button to the last card: portraits, more of them, and every problem by its field."""

from __future__ import annotations

import pytest
from PIL import Image

from facestudio.errors import NoSpace
from facestudio.web import studio as studio_module
from facestudio.web.drawing import CANCELLED, Portrait
from facestudio.web.session import MAX_SHOWN, NONE, OWN
from facestudio.web.studio import Variant
from facestudio.web.wishes import Wishes

TWO = Wishes(count=2, seed="7", steps=2)


@pytest.fixture
def portrait(studio) -> Portrait:
    return Portrait(studio)


def problems(view):
    return {name: html for name, html in view.items() if name.startswith("problem:") and html}


def test_portraits_appear_one_by_one(portrait, ready):
    views = list(portrait.make(ready, TWO))
    cards = [view["cards:portrait"] for view in views if "cards:portrait" in view]
    assert [html.count("<li>") for html in cards] == [0, 1, 2]
    assert any("<progress" in view.get("progress:portrait", "") for view in views)
    assert views[-1]["running:portrait"] is False
    assert "ready" in views[-1]["progress:portrait"]


def test_a_card_says_likeness_and_seed_and_what_to_do_next(portrait, ready, last):
    html = last(portrait.make(ready, TWO))["cards:portrait"]
    assert "Likeness " in html
    assert "%" in html
    assert '<span class="seed">7</span>' in html
    assert '<span class="seed">8</span>' in html
    assert 'data-file="portrait-7.png"' in html
    assert all(words in html for words in ("Download", "More like this", "Use as style"))


def test_the_same_seed_draws_the_same(portrait, ready):
    for _ in range(2):
        list(portrait.make(ready, TWO))
    pictures = [variant.image.tobytes() for variant in ready.results["portrait"]]
    assert pictures[:2] == pictures[2:]


def test_style_words_and_dial_reach_the_pipeline(portrait, ready):
    list(
        portrait.make(
            ready, Wishes(words=" a hat ", dial=30, count=1, steps=2, guidance=2, face=80)
        )
    )
    options = ready.results["portrait"][0].plan.options
    assert options["prompt"] == "a hat"
    assert options["alpha"] == 0.3
    assert options["style"] is ready.style_picture()
    assert (options["num_inference_steps"], options["guidance_scale"]) == (2, 2)
    assert options["identity_scale"] == 0.8


@pytest.mark.parametrize(
    ("wishes", "field", "words"),
    [
        (Wishes(seed="seven"), "seed", "whole number"),
        (Wishes(seed="-1"), "seed", "whole number"),
        (Wishes(seed="99999999999"), "seed", "whole number"),
        (Wishes(words="a" * 401), "words", "at most 400"),
        (Wishes(steps=0), "steps", "0: give a whole number"),
        (Wishes(guidance=99), "guidance", "99: give a number"),
    ],
)
def test_a_bad_wish_is_said_beside_its_field(portrait, ready, last, wishes, field, words):
    view = last(portrait.make(ready, wishes))
    assert list(problems(view)) == [f"problem:{field}"]
    assert words in view[f"problem:{field}"]
    assert view["running:portrait"] is False


def test_without_consent_nothing_is_drawn(portrait, ready, last):
    ready.consent = False
    view = last(portrait.make(ready, TWO))
    assert list(problems(view)) == ["problem:consent"]
    assert ready.results == {}


def test_without_a_photo_one_is_asked_for(portrait, session, last):
    session.consent = True
    view = last(portrait.make(session, TWO))
    assert "Choose a photo first" in problems(view)["problem:photo-you"]


def test_neither_words_nor_style(portrait, ready, last):
    ready.style = NONE
    assert "problem:words" in problems(last(portrait.make(ready, TWO)))


def test_old_problems_go_when_it_is_tried_again(portrait, ready):
    first = next(iter(portrait.make(ready, TWO)))
    assert first["problem:seed"] == first["problem:consent"] == first["problem:make-portrait"] == ""


def test_cancel_keeps_what_is_finished(portrait, ready):
    views = portrait.make(ready, Wishes(count=8, steps=2))
    for view in views:
        if "<li>" in view.get("cards:portrait", ""):
            break
    cancelled = portrait.cancel(ready)
    assert cancelled["running:portrait"] is False
    rest = list(views)
    assert rest[-1]["running:portrait"] is False
    assert CANCELLED in rest[-1]["progress:portrait"]
    assert 1 <= len(ready.results["portrait"]) < 8


def test_cancel_with_nothing_running(portrait, session):
    assert portrait.cancel(session)["running:portrait"] is False


def test_a_new_drawing_ends_the_old_one(portrait, ready):
    old = portrait.make(ready, Wishes(count=8, steps=2))
    while ready.drawing is None:
        next(old)
    first = ready.drawing
    list(portrait.make(ready, TWO))
    assert first.cancelled
    assert [view for view in old if view.get("running:portrait")] == []


def test_more_like_this_starts_from_the_picture(portrait, ready, last):
    list(portrait.make(ready, TWO))
    view = last(portrait.more(ready, 1, Wishes(count=1)))
    assert view["cards:portrait"].count("<li>") == 3
    newest: Variant = ready.results["portrait"][0]
    assert newest.plan.options["image"] is ready.results["portrait"][2].image
    assert 0 < newest.plan.options["strength"] < 1


def test_use_as_style(portrait, ready):
    list(portrait.make(ready, TWO))
    view = portrait.use_as_style(ready, 0)
    assert ready.style == OWN
    assert ready.style_picture() is ready.results["portrait"][0].image
    assert "Your picture" in view["style"]


@pytest.mark.parametrize("index", [-1, 5])
def test_a_card_that_is_gone(portrait, ready, last, index):
    assert "not there" in problems(portrait.use_as_style(ready, index))["problem:make-portrait"]
    assert "not there" in problems(last(portrait.more(ready, index, TWO)))["problem:make-portrait"]


def test_results_are_bounded(ready):
    ready.keep("portrait", list(range(MAX_SHOWN)))
    assert ready.keep("portrait", ["new"]) == ["new", *range(MAX_SHOWN - 1)]


def test_errors_of_the_machine_stand_by_the_button(portrait, ready, last, monkeypatch):
    def full(*args, **options):
        raise NoSpace("the disk is full", hint="free some space")

    monkeypatch.setattr(portrait.studio.pipe.__class__, "__call__", full)
    view = last(portrait.make(ready, TWO))
    assert "The disk is full. Free some space." in view["problem:make-portrait"]


class Checker:
    """Calls the pictures explicit that it is told, in turn; previews are asked about too."""

    name = "given"

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)

    def is_explicit(self, picture: Image.Image) -> bool:
        return self.answers.pop(0)


@pytest.mark.filterwarnings("ignore::facestudio.provenance.content.ContentWarning")
def test_a_withheld_picture_is_told_in_words(portrait, ready, last, monkeypatch):
    monkeypatch.setattr(studio_module._PreviewClock, "is_due", lambda clock: False)
    portrait.studio.pipe.content_checker = Checker(True, False)
    view = last(portrait.make(ready, TWO))
    withheld, shown = view["cards:portrait"].split("</li>")[:2]
    assert "content checker took it to be sexual" in withheld
    assert "<img" not in withheld
    assert "Download" not in withheld
    assert '<span class="seed">7</span>' in withheld
    assert "<img" in shown
    assert "1 of 2 withheld" in view["progress:portrait"]


@pytest.mark.filterwarnings("ignore::facestudio.provenance.content.ContentWarning")
def test_no_preview_shows_what_is_withheld(portrait, ready, monkeypatch):
    monkeypatch.setattr(studio_module._PreviewClock, "is_due", lambda clock: True)
    portrait.studio.pipe.content_checker = Checker(*[True] * 9)
    views = list(portrait.make(ready, Wishes(count=1, steps=2)))
    assert any("<progress" in view.get("progress:portrait", "") for view in views)
    assert "<img" not in "".join(str(html) for view in views for html in view.values())


def test_an_unknown_failure_is_logged_and_told_without_its_text(
    portrait, ready, last, monkeypatch, caplog
):
    def broken(*args, **options):
        raise ZeroDivisionError("secret path")

    monkeypatch.setattr(portrait.studio.pipe.__class__, "__call__", broken)
    view = last(portrait.make(ready, TWO))
    assert "secret" not in view["problem:make-portrait"]
    assert "should not have" in view["problem:make-portrait"]
    assert "a drawing failed" in caplog.text


def test_words_are_escaped_wherever_they_stand(portrait, ready, last):
    view = last(portrait.make(ready, Wishes(words="<script>alert(1)</script>", count=1, steps=2)))
    assert "<script" not in "".join(str(html) for html in view.values())


def test_a_style_picture_of_one_pixel_is_no_crash(portrait, ready, last):
    ready.own_style, ready.style = Image.new("RGB", (1, 1)), OWN
    view = last(portrait.make(ready, Wishes(count=1, steps=2)))
    assert view["running:portrait"] is False
