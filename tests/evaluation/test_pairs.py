"""Two people on one canvas are told apart, each in their own half."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from facestudio.evaluation import judges as judging
from facestudio.evaluation import pairs
from facestudio.evaluation.people import read_people
from facestudio.evaluation.settings import PairSettings


@pytest.fixture
def asked(settings):
    return dataclasses.replace(settings, pairs=PairSettings("a man", n_pairs=3))


class HalvesDetector:
    """Sees a face in the middle of each half of a wide picture, one in any other."""

    name, licence = "halves", "CC0"

    def __init__(self, face_of) -> None:
        self.face_of = face_of

    def detect(self, image: Image.Image):
        side = image.height
        return [self.face_of(x + side / 2, side / 2, side / 2) for x in range(0, image.width, side)]


@pytest.fixture
def judges(asked, pipe, judged_by_colour, monkeypatch):
    face_of = judged_by_colour.detect(Image.new("RGB", (8, 8)))[0]

    def make(x, y, width):
        scale = width / face_of.width
        box = (x - width / 2, y - width / 2, x + width / 2, y + width / 2)
        points = (face_of.points - face_of.centre) * scale + [x, y]
        return dataclasses.replace(face_of, box=box, points=points)

    monkeypatch.setattr(judging, "load_detector", lambda spec: HalvesDetector(make))
    return judging.load_judges(asked, pipe)


def draw(settings, people, swapped=False):
    """Pictures of pairs made of the reference photos themselves."""
    for i, j in pairs.list_pairs(settings, len(people)):
        sides = [people[i].reference, people[j].reference]
        left, right = sides[::-1] if swapped else sides
        canvas = Image.new("RGB", (2 * left.width, left.height))
        canvas.paste(left, (0, 0))
        canvas.paste(right, (left.width, 0))
        path = pairs.pair_path(settings.out, people[i], people[j])
        path.parent.mkdir(parents=True, exist_ok=True)
        canvas.save(path)


def test_neighbours_first(settings):
    many = dataclasses.replace(settings, pairs=PairSettings("a", n_pairs=5))
    assert pairs.list_pairs(many, 4) == [(0, 1), (1, 2), (2, 3), (0, 2), (1, 3)]
    assert pairs.list_pairs(many, 2) == [(0, 1)]
    assert pairs.list_pairs(settings, 4) == []


def test_each_in_the_own_half_is_recognised(asked, judges):
    people = read_people(asked.people)
    reference = judges.look(person.reference for person in people)
    draw(asked, people)
    found = pairs.judge_pairs(asked, judges, people, reference)
    assert (found.with_faces.mean, found.both.mean, found.each.mean) == (1, 1, 1)
    assert found.reference.mean == pytest.approx(1, abs=0.02)
    assert found.other_person.mean < 0.7
    assert (found.both.n, found.each.n) == (3, 6)


def test_people_who_changed_places_are_not(asked, judges):
    people = read_people(asked.people)
    reference = judges.look(person.reference for person in people)
    draw(asked, people, swapped=True)
    found = pairs.judge_pairs(asked, judges, people, reference)
    assert (found.with_faces.mean, found.both.mean, found.each.mean) == (1, 0, 0)


def test_missing_faces_count_as_not_recognised(asked, judges):
    people = read_people(asked.people)
    reference = judges.look(person.reference for person in people)
    draw(asked, people)
    blind = dataclasses.replace(judges, min_face_px=1000)
    found = pairs.judge_pairs(asked, blind, people, reference)
    assert (found.with_faces.mean, found.both.mean, found.reference.mean) == (0, 0, 0)


def test_nothing_asked_for_gives_nothing(settings, judges):
    reference = judges.look([])
    assert pairs.judge_pairs(settings, judges, [], reference) is None


def test_pictures_are_made_once_from_seeds_of_their_own(asked, pipe):
    calls = []

    class Recorder:
        def __call__(self, people, prompt, **options):
            calls.append((people, prompt, options))
            return type("Output", (), {"images": [Image.new("RGB", (8, 8))]})

    people = read_people(asked.people)[:3]
    identities = {person.name: person.name for person in people}
    told = []
    for _ in range(2):
        pairs.make_pairs(Recorder(), asked, people, identities, lambda *given: told.append(given))
    assert [each[0] for each in calls] == [
        [people[i].name, people[j].name] for i, j in ((0, 1), (1, 2), (0, 2))
    ]
    assert calls[0][1] == "a man"
    assert np.allclose(calls[0][2]["regions"], [(0, 0, 0.5, 1), (0.5, 0, 1, 1)])
    assert len({each[2]["seed"] for each in calls}) == 3
    assert told == [(1, 3), (2, 3), (3, 3)] * 2
