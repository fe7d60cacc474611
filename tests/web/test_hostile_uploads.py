"""Whatever is uploaded, each field shows it or says in words what is wrong; nothing is kept."""

from __future__ import annotations

import io
import random
import resource
import sys
from collections import Counter
from itertools import islice

import pytest

from facestudio.web.drawing import UNKNOWN, Portrait
from facestudio.web.people import People
from facestudio.web.session import OWN, YOU
from facestudio.web.tabs import Start
from facestudio.web.wishes import Wishes
from tests.hostile_pictures import HostilePicture, damage_files, make_hostile_pictures

NUMBER = 150  # the whole corpus has 1,000: make fuzz-page
FACES = 40
MAX_GROWTH_MB = 400
ONE = Wishes(count=1, seed="1", steps=1)

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow warns of much that it can read


@pytest.fixture(scope="module")
def corpus() -> list[HostilePicture]:
    """All that is made by hand and some that is damaged at random, without the slowest."""
    return [each for each in make_hostile_pictures(NUMBER) if each.name != "really-8000.png"]


@pytest.fixture(scope="module")
def damaged_faces(_astronaut_picture) -> list[HostilePicture]:
    """A photo with a face in several formats, each damaged in several ways."""
    good = []
    for kind in ("JPEG", "PNG", "WEBP", "GIF"):
        buffer = io.BytesIO()
        _astronaut_picture.resize((256, 256)).save(buffer, kind)
        good.append(HostilePicture(f"face.{kind.lower()}", buffer.getvalue()))
    return list(islice(damage_files(good, random.Random(0)), FACES))


@pytest.fixture
def answer(giving, session, uploads):
    """answer(hostile, handle, field): "shown" or "problem"; fails on anything else."""

    def ask(hostile: HostilePicture, handle, field: str) -> str:
        path = uploads / hostile.name.replace("/", "_")
        path.write_bytes(hostile.data)
        view = handle(str(path))
        assert list(uploads.iterdir()) == []
        told = view[f"problem:{field}"]
        assert bool(told) != bool(view.get(field))
        assert not told or 'role="alert"' in told
        assert "<script" not in told
        return "problem" if told else "shown"

    return ask


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1e6 if sys.platform == "darwin" else 1e3
    )


def test_photos(giving, session, corpus, damaged_faces, answer):
    before, answers = peak_mb(), Counter()
    for hostile in [*corpus, *damaged_faces]:
        kind = answer(hostile, lambda path: giving.take_photo(session, YOU, path), "photo-you")
        answers[kind] += 1
    assert answers["problem"] >= len(corpus)  # none of the corpus has a face
    assert answers["shown"] > 5
    assert peak_mb() - before < MAX_GROWTH_MB


def test_styles_are_drawn_with_whatever_they_are(giving, studio, ready, corpus, answer, last):
    answers = Counter()
    for hostile in corpus[::2]:
        kind = answer(hostile, lambda path: giving.take_style(ready, path), "style")
        answers[kind] += 1
        if kind == "shown":
            assert ready.style == OWN
            assert_drawn(last(Portrait(studio).make(ready, ONE)), "portrait")
    assert min(answers["shown"], answers["problem"]) > 20


def test_pictures_to_start_from_are_drawn_on(giving, studio, ready, corpus, answer, last):
    answers = Counter()
    for hostile in corpus[1::2]:
        kind = answer(hostile, lambda path: giving.take_start(ready, path), "start")
        answers[kind] += 1
        if kind == "shown":
            assert_drawn(last(Start(studio).make(ready, ONE, 50)), "start")
    assert min(answers["shown"], answers["problem"]) > 20


def test_scenes(studio, session, uploads, damaged_faces, corpus, answer):
    people, answers = People(studio), Counter()
    for hostile in [*damaged_faces, *corpus[::4]]:
        kind = answer(hostile, lambda path: people.take_scene(session, path, uploads, []), "scene")
        answers[kind] += 1
    assert min(answers["shown"], answers["problem"]) > 5


def assert_drawn(view, tab: str) -> None:
    """A picture came of it, or words beside a field; nothing that should not have been."""
    told = [html for name, html in view.items() if name.startswith("problem:") and html]
    assert told or "<img" in view[f"cards:{tab}"]
    assert not any(UNKNOWN in html for html in told)
