"""Who is in the picture: photos and saved people as words on the command line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from facestudio.errors import BadOption, BadRegion, Box

if TYPE_CHECKING:
    from facestudio.faces.embed import IdentityEncoder
    from facestudio.faces.identity import Identity
    from facestudio.pipeline.pipeline import FaceStudioPipeline

SAVED = "@"
ROUNDING = 1e-9


@dataclass(frozen=True)
class Mix:
    """A second person and the share of the face that is theirs."""

    photo: str
    weight: float


@dataclass(frozen=True)
class Placed:
    """One of several people, with the box they stand in (fractions of the picture) or None."""

    photo: str
    region: Box | None = None


def parse_mix(text: str) -> Mix:
    """`PHOTO:W` as a photo and its share. Raises BadOption."""
    photo, colon, number = text.rpartition(":")
    wanted = "write PHOTO:W with W between 0 and 1, for example --mix ben.jpg:0.3"
    try:
        weight = float(number)
    except ValueError:
        raise BadOption(f"--mix {text!r} has no share of the face", hint=wanted) from None
    if not colon or not photo or not 0 <= weight <= 1:
        raise BadOption(f"--mix {text!r} is not a photo and a share", hint=wanted)
    return Mix(photo, weight)


def parse_faces(texts: Sequence[str]) -> tuple[list[str], list[Mix]]:
    """The first person, and the others with their shares, of `FACE` or `FACE:SHARE` each.

    Shares are brought to a sum of 1; without any they are equal. Raises BadOption.
    """
    faces = [_parse_share(text) for text in texts]
    shares = [share for _, share in faces if share is not None]
    wanted = "for example --face @anna:0.7 --face @ben:0.3"
    if shares and len(shares) < len(faces):
        raise BadOption("some --face have a share and some do not", hint=wanted)
    if any(not 0 <= share < math.inf for share in shares) or (shares and not sum(shares) > 0):
        raise BadOption("a share of --face is under 0, or all are 0", hint=wanted)
    total = sum(shares) or len(faces)
    mixes = [Mix(photo, (1 if share is None else share) / total) for photo, share in faces]
    return [mix.photo for mix in mixes[:1]], mixes[1:]


def _parse_share(text: str) -> tuple[str, float | None]:
    """A face and its share; what follows the last colon is a share only if it is a number."""
    photo, _, number = text.rpartition(":")
    try:
        return (photo, float(number)) if photo else (text, None)
    except ValueError:
        return text, None


def parse_person(text: str) -> Placed:
    """`PHOTO` or `PHOTO:x0,y0,x1,y1` as a photo and a box. Raises BadRegion."""
    photo, colon, tail = text.rpartition(":")
    if not colon or "," not in tail:
        return Placed(text)
    return Placed(photo, _parse_box(tail))


def _parse_box(text: str) -> Box:
    wanted = "write x0,y0,x1,y1 as fractions, left top right bottom, for example 0,0,0.5,1"
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError:
        raise BadRegion(f"region {text!r} is not four numbers", hint=wanted) from None
    if not (0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1):
        raise BadRegion(f"region {text!r} is empty or outside the picture", hint=wanted)
    return x0, y0, x1, y1


def picture_paths(words: Sequence[str]) -> list[Path]:
    """The words that are files, saved people left out."""
    return [Path(word) for word in words if not word.startswith(SAVED)]


def identify(pipe: FaceStudioPipeline, words: Sequence[str], *, largest: bool) -> Identity:
    """The one person that all these photos and saved people (`@name`) show."""
    from facestudio.faces.embed import encoder_id
    from facestudio.faces.identity import mix_identities
    from facestudio.identities.store import IdentityStore

    store, encoder = IdentityStore(), encoder_id(pipe.identity_encoder)
    names = [word.removeprefix(SAVED) for word in words if word.startswith(SAVED)]
    known = [store.load(name, encoder) for name in names]
    photos = picture_paths(words)
    if photos:
        known.append(pipe.identity(*photos, largest=largest))
        _warn_of_strangers(known[-1], pipe.identity_encoder)
    if len(known) == 1:
        return known[0]
    counts = [len(identity.photos) for identity in known]
    return mix_identities(known, [count / sum(counts) for count in counts])


def _warn_of_strangers(identity: Identity, encoder: IdentityEncoder) -> None:
    """Say it where the photos of one person look like two people; they are taken all the same."""
    from facestudio.identities.profile import compare_photos, say_strangers

    similarities = compare_photos(identity, encoder)
    for words in [] if similarities is None else say_strangers(similarities):
        typer.echo(f"warning: {words}; for two people give each as --person PHOTO", err=True)


def identify_mixed(
    pipe: FaceStudioPipeline, words: Sequence[str], mixes: Sequence[Mix], *, largest: bool
) -> Identity:
    """One face out of several people: what the mixes leave of 1 is the first person's share."""
    from facestudio.faces.identity import mix_identities

    first = identify(pipe, words, largest=largest)
    if not mixes:
        return first
    others = [identify(pipe, [mix.photo], largest=largest) for mix in mixes]
    weights = [mix.weight for mix in mixes]
    return mix_identities([first, *others], [max(0.0, 1 - sum(weights)), *weights])


def check_people(words: Sequence[str], mixes: Sequence[Mix], placed: Sequence[Placed]) -> None:
    """Raise BadOption or BadRegion where photos, mixes and people cannot go together."""
    if placed and (words or mixes):
        hint = "name every person with --person, each with one photo or a saved @name"
        raise BadOption("--person does not go with PHOTO or --mix", hint=hint)
    if mixes and not words:
        raise BadOption("--mix needs a first person", hint="put their PHOTO before --mix")
    if sum(mix.weight for mix in mixes) > 1 + ROUNDING:
        raise BadOption("the shares of --mix add up to more than 1", hint="lower one of them")
    boxes = [person.region for person in placed if person.region is not None]
    if boxes and len(boxes) != len(placed):
        raise BadRegion("some --person have a region and some do not", hint="give all or none")
