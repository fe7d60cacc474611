"""Several people in one picture: numbered places, and who goes where, seen before it is drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from facestudio.errors import FaceStudioError
from facestudio.faces.regions import side_by_side
from facestudio.pipeline.layout import lay_out
from facestudio.web.drawing import Tab
from facestudio.web.fields import show_scene, show_scene_upload
from facestudio.web.giving import View
from facestudio.web.markup import problem
from facestudio.web.photos import read_upload
from facestudio.web.places import find_places
from facestudio.web.problems import FieldProblem, in_words
from facestudio.web.session import YOU, Session
from facestudio.web.studio import Plan
from facestudio.web.wishes import Wishes

if TYPE_CHECKING:
    from pathlib import Path

    from facestudio.errors import Box

OTHERS = ("second", "third", "fourth")
SIDE_BY_SIDE = 2  # places where no picture says how many
NOBODY = "Nobody"
CHOICES = {"Your photo": YOU, **{f"Person {i + 2}": name for i, name in enumerate(OTHERS)}}
FACE_PX = 120


class People(Tab):
    """Up to four people; the scene is the style picture, or empty places side by side."""

    name = "people"
    fields = ("scene", "places", *(f"photo-{name}" for name in OTHERS))

    def take_scene(self, session: Session, path: str, folder: Path, chosen: Sequence[str]) -> View:
        """The scene with its numbered places, or why it has none."""
        try:
            scene = read_upload(path, folder)
            find_places(scene, self.studio.pipe)
        except FaceStudioError as error:
            return {"problem:scene": problem(in_words(error))}
        session.scene = scene
        return {"problem:scene": "", **self.preview(session, chosen)}

    def drop_scene(self, session: Session, chosen: Sequence[str]) -> View:
        """The empty places side by side again."""
        session.scene = None
        return {"problem:scene": "", **self.preview(session, chosen)}

    def preview(self, session: Session, chosen: Sequence[str]) -> View:
        """The scene as it would be drawn: in each place the face that is chosen for it."""
        places = self.places(session)
        photos = [session.photos.get(field or "") for field in _fields(chosen)[: len(places)]]
        faces = {i: photo.crop(FACE_PX) for i, photo in enumerate(photos) if photo is not None}
        return {
            "scene": show_scene(session.scene, places, faces),
            "scene-upload": show_scene_upload(given=session.scene is not None),
            "problem:places": "",
            "count:places": len(places),
        }

    def places(self, session: Session) -> list[Box]:
        """The boxes, as fractions, in which people can stand, left to right."""
        if session.scene is not None:
            return find_places(session.scene, self.studio.pipe)
        return side_by_side(SIDE_BY_SIDE)

    def make(self, session: Session, wishes: Wishes, chosen: Sequence[str]) -> Iterator[View]:
        """Variants of the scene with the people that are chosen for its places."""

        def plan() -> list[Plan]:
            places = self.places(session)
            fields = _fields(chosen)[: len(places)]
            if not any(fields):
                raise FieldProblem("places", "Choose a person for at least one place.")
            style = session.scene or session.style_picture()
            options, limits = wishes.options(style), self.studio.pipe.limits
            taken = [place for place, who in zip(places, fields, strict=True) if who]
            options["height"], options["width"], options["regions"] = lay_out(taken, limits)
            people = [self.identity(session, who) for who in fields if who]
            return [Plan(people, options, seed) for seed in wishes.seeds()]

        yield from self.draw(session, plan)


def _fields(chosen: Sequence[str]) -> list[str | None]:
    """For each place the field of the person chosen for it, None for nobody."""
    return [CHOICES.get(choice) for choice in chosen]
