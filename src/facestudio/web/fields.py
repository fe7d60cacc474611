"""The fields in which pictures are given: a photo with its faces, the styles, a scene."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from PIL import Image

from facestudio.web.markup import escape, picture_uri, status, upload_label, warning
from facestudio.web.saved import SAVED, SavedPerson, draw_letter
from facestudio.web.session import NONE, OWN, YOU, Session
from facestudio.web.swatches import Swatch, read_swatches

if TYPE_CHECKING:
    from facestudio.errors import Box
    from facestudio.faces.quality import Quality
    from facestudio.web.photos import Photo

SWATCH_PX = 120
CHIP_PX = 64
PHOTO_WORDS = {YOU: "Choose a photo", "other": "Choose a photo of the other person"}


def show_person(
    field: str, given: Photo | SavedPerson | None, saved: Mapping[str, Image.Image | None]
) -> str:
    """A place for a photo or one of the saved people, whose names and pictures are `saved`."""
    if given is None:
        shown = upload_label(field, PHOTO_WORDS.get(field, "Choose a photo of this person"))
    elif isinstance(given, SavedPerson):
        shown = _show_saved(field, given)
    else:
        shown = _show_photo(field, given)
    chosen = given.name if isinstance(given, SavedPerson) else ""
    return shown + _show_chips(saved, chosen)


def _show_saved(field: str, person: SavedPerson) -> str:
    """What the model made of a saved person, and what is doubtful about them."""
    photos = len(person.profile.identity.photos)
    words = f"{person.name}, saved from {photos} photo{'s' * (photos > 1)}."
    notes = "".join(warning(f"{note[:1].upper()}{note[1:]}.") for note in person.profile.warnings())
    return (
        f'<div class="photo saved"><img src="{picture_uri(person.crop(128))}" '
        f'alt="{escape(person.name)}, as the model draws them"></div>{status(words)}{notes}'
        f"{upload_label(field, 'A photo instead', small=True)}"
    )


def _show_chips(saved: Mapping[str, Image.Image | None], chosen: str) -> str:
    """A button for each saved person; nothing where nobody is saved."""
    chips = "".join(
        f'<button type="button" class="chip" data-pick="{SAVED}{escape(name)}"'
        f' aria-pressed="{str(name == chosen).lower()}">'
        f'<img src="{picture_uri(picture or draw_letter(name, CHIP_PX), CHIP_PX)}" alt="">'
        f"<span>{escape(name)}</span></button>"
        for name, picture in saved.items()
    )
    label = '<span class="status">Or someone you saved:</span>'
    return (
        f'<div class="chips" role="group" aria-label="Saved people">{label}{chips}</div>'
        if chips
        else ""
    )


def _show_photo(field: str, photo: Photo) -> str:
    """The photo; its faces are numbered buttons and their faults are said."""
    faces = "".join(_face_button(photo, number) for number in range(len(photo.faces)))
    return (
        f'<div class="photo"><img src="{picture_uri(photo.image)}" alt="The photo you chose">'
        f"{faces}</div>{status(describe_faces(photo))}{_faults(photo)}"
        f"{upload_label(field, 'Another photo', small=True)}"
    )


def describe_faces(photo: Photo) -> str:
    """How many faces were found and which one is taken, as a sentence."""
    if len(photo.faces) == 1:
        return "One face found."
    return f"{len(photo.faces)} faces found. Face {photo.chosen + 1} is chosen; click another."


def _faults(photo: Photo) -> str:
    """What is wrong with the chosen face, and which faces cannot be chosen."""
    notes = []
    if faults := photo.qualities[photo.chosen].faults():
        words = " and ".join(faults)
        notes.append(f"This face is {words}: the portrait will be less like it.")
    unusable = [i + 1 for i, quality in enumerate(photo.qualities) if not quality.usable]
    if unusable:
        numbers = ", ".join(map(str, unusable))
        notes.append(f"Too small to be chosen: {numbers}.")
    return "".join(map(warning, notes))


def _face_button(photo: Photo, number: int) -> str:
    chosen = number == photo.chosen
    quality = photo.qualities[number]
    return (
        f'<button type="button" class="face" style="{_place(photo.faces[number].box, photo.image)}"'
        f' data-pick="{number}" aria-pressed="{str(chosen).lower()}"'
        f' aria-label="Face {number + 1}{_said(quality)}"{"" if quality.usable else " disabled"}>'
        f"<span>{number + 1}</span></button>"
    )


def _said(quality: Quality) -> str:
    return "".join(f", {fault}" for fault in quality.faults())


def _place(box: Box, image: Image.Image) -> str:
    """The box as CSS, in per cent of the picture, cut at its edges."""
    x0, x1 = (min(max(x / image.width, 0), 1) * 100 for x in (box[0], box[2]))
    y0, y1 = (min(max(y / image.height, 0), 1) * 100 for y in (box[1], box[3]))
    return f"left:{x0:.2f}%;top:{y0:.2f}%;width:{x1 - x0:.2f}%;height:{y1 - y0:.2f}%"


def show_styles(session: Session) -> str:
    """The swatches, the own picture and "words only", one of which is chosen."""
    swatches = "".join(_swatch_button(s, session.style) for s in read_swatches().values())
    own, words = "", "Your own style picture"
    if session.own_style is not None:
        own = _swatch_button(Swatch(OWN, "Your picture", session.own_style), session.style)
        words = "Another picture"
    return (
        f'<div class="swatches" role="group" aria-label="Style pictures">{swatches}'
        f'<div class="wide">{_words_button(session.style)}{own}'
        f"{upload_label('style', words, small=True)}</div></div>"
    )


def _swatch_button(swatch: Swatch, chosen: str) -> str:
    pressed = str(swatch.name == chosen).lower()
    return (
        f'<button type="button" class="swatch" data-pick="{swatch.name}" aria-pressed="{pressed}">'
        f'<img src="{picture_uri(swatch.image, SWATCH_PX)}" alt=""><span>{swatch.title}</span>'
        f"</button>"
    )


def _words_button(chosen: str) -> str:
    pressed = str(chosen == NONE).lower()
    return (
        f'<button type="button" class="swatch" data-pick="{NONE}" aria-pressed="{pressed}">'
        '<b aria-hidden="true">Aa</b><span>Words only</span></button>'
    )


def show_picture(field: str, picture: Image.Image | None, words: str) -> str:
    """A place for a picture in which no face has to be."""
    if picture is None:
        return upload_label(field, words)
    return (
        f'<div class="photo"><img src="{picture_uri(picture)}" alt="The picture you chose"></div>'
        f"{upload_label(field, 'Another picture', small=True)}"
    )


def show_scene(
    scene: Image.Image | None, boxes: Sequence[Box], people: Mapping[int, Image.Image]
) -> str:
    """The scene with its numbered places; in each, the face that goes there.

    boxes are fractions. people: for the number of a place, from 0, a picture of the face.
    """
    background = (
        f'<img src="{picture_uri(scene)}" alt="">' if scene else '<div class="blank"></div>'
    )
    places = "".join(_scene_place(i, box, people.get(i)) for i, box in enumerate(boxes))
    taken = ", ".join(f"{i + 1}" for i in sorted(people)) or "none yet"
    label = f"{len(boxes)} places, numbered from left to right; with a face: {taken}"
    return f'<div class="scene" role="img" aria-label="{label}">{background}{places}</div>'


def show_scene_upload(*, given: bool) -> str:
    """A place to choose the scene; with one `given`, also a button that drops it."""
    if not given:
        return upload_label("scene", "A picture with several people", small=True)
    drop = '<button type="button" class="plain" data-pick="none">Side by side, without it</button>'
    return upload_label("scene", "Another picture with people", small=True) + drop


def _scene_place(number: int, box: Box, face: Image.Image | None) -> str:
    x0, y0, x1, y1 = (100 * edge for edge in box)
    style = f"left:{x0:.2f}%;top:{y0:.2f}%;width:{x1 - x0:.2f}%;height:{y1 - y0:.2f}%"
    inside = f'<img src="{picture_uri(face, SWATCH_PX)}" alt="">' if face else ""
    return f'<div class="place" style="{style}"><span>{number + 1}</span>{inside}</div>'
