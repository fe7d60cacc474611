"""Handlers of what is given: photos, the choice of a face, styles, pictures, consent.

Each returns a view: new HTML by the name of its place on the page.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facestudio.errors import FaceStudioError
from facestudio.web.fields import show_person, show_picture, show_styles
from facestudio.web.markup import problem
from facestudio.web.photos import MAX_UPLOAD_MB, Photo, find_people, read_upload
from facestudio.web.problems import in_words
from facestudio.web.saved import SAVED, choose_saved, list_saved
from facestudio.web.session import NONE, OWN, Session
from facestudio.web.swatches import read_swatches

if TYPE_CHECKING:
    from PIL import Image

    from facestudio.identities.store import IdentityStore
    from facestudio.pipeline.pipeline import FaceStudioPipeline

View = dict[str, Any]

TOO_LARGE = f"This file is over {MAX_UPLOAD_MB} MB. Make the picture smaller first."
NOT_ARRIVED = "The upload was interrupted. Choose the picture again."


class Giving:
    """The handlers; `folder` is where uploads arrive, `store` has the saved people to choose."""

    def __init__(
        self, pipe: FaceStudioPipeline, folder: Path, store: IdentityStore | None = None
    ) -> None:
        self.pipe = pipe
        self.folder = folder
        self.store = store

    def take_photo(self, session: Session, field: str, path: str) -> View:
        """The photo with its faces, or what is wrong with it; a bad one replaces none."""

        def take() -> None:
            session.photos[field] = find_people(read_upload(path, self.folder), self.pipe)

        return self._show_after(take, f"photo-{field}", lambda: self._person(session, field))

    def choose(self, session: Session, field: str, value: str) -> View:
        """The photo with another face chosen, by its number, or a saved person, by "@name"."""
        if value.startswith(SAVED):
            return self._choose_saved(session, field, value.removeprefix(SAVED))
        photo = session.photos.get(field)
        if isinstance(photo, Photo) and value.isdecimal():
            session.photos[field] = photo.choose(int(value))
        return self._person(session, field)

    def _choose_saved(self, session: Session, field: str, name: str) -> View:
        store = self.store
        if store is None:
            return {}

        def take() -> None:
            session.photos[field] = choose_saved(name, store, self.pipe)

        return self._show_after(take, f"photo-{field}", lambda: self._person(session, field))

    def take_style(self, session: Session, path: str) -> View:
        """The styles with the own picture, which is chosen at once."""

        def take() -> None:
            session.own_style = read_upload(path, self.folder)
            session.style = OWN

        return self._show_after(take, "style", lambda: {"style": show_styles(session)})

    def choose_style(self, session: Session, name: str) -> View:
        """The styles with this one chosen."""
        known = {NONE, *read_swatches()} | ({OWN} if session.own_style is not None else set())
        if name in known:
            session.style = name
        return {"style": show_styles(session), "problem:style": "", "problem:words": ""}

    def take_start(self, session: Session, path: str) -> View:
        """The picture to start from."""

        def take() -> None:
            session.start = read_upload(path, self.folder)

        return self._show_after(take, "start", lambda: {"start": show_start(session.start)})

    def consent(self, session: Session, given: bool) -> View:
        """Consent as it is given or taken back."""
        session.consent = bool(given)
        return {"problem:consent": ""}

    def refuse(self, field: str, reason: str) -> View:
        """Why the browser did not send a file."""
        return {f"problem:{field}": problem(TOO_LARGE if reason == "large" else NOT_ARRIVED)}

    def show_person(self, session: Session, field: str) -> str:
        """The place for a photo, with the people who are saved now."""
        return show_person(field, session.photos.get(field), list_saved(self.store))

    def _person(self, session: Session, field: str) -> View:
        place = f"photo-{field}"
        return {place: self.show_person(session, field), f"problem:{place}": ""}

    def _show_after(self, take: Callable[[], None], place: str, show: Callable[[], View]) -> View:
        """What `show` gives after `take`; where that fails, the problem beside the field."""
        try:
            take()
        except FaceStudioError as error:
            return {f"problem:{place}": problem(in_words(error))}
        return {f"problem:{place}": "", **show()}


def show_start(start: Image.Image | None) -> str:
    """The place for the picture to start from."""
    return show_picture("start", start, "Choose a picture to start from")
