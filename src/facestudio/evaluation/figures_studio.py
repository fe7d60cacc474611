"""Who sits for the figures, their style pictures, and a camera that takes each picture once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from facestudio.data.drawing import STYLES
from facestudio.errors import BadOption
from facestudio.evaluation.people import read_people
from facestudio.faces.align import align_portrait
from facestudio.faces.detect import find_face
from facestudio.faces.identity import Identity
from facestudio.images import read_picture
from facestudio.pipeline.pipeline import FaceStudioPipeline

if TYPE_CHECKING:
    from facestudio.evaluation.figures import FiguresSettings

PEOPLE = 6
PHOTO, MIRRORED = "photo", "mirrored"


@dataclass(frozen=True)
class Mixed:
    """Two people by number as one; `share` is the second's."""

    one: int
    other: int
    share: float = 0.5


Who = int | Mixed | tuple[int, int] | None


@dataclass(frozen=True)
class Studio:
    """Seven people by number, the last the one of `photo`, and what draws them.

    portraits: their photos, head and shoulders. styles: style pictures by name: "photo" and
    "mirrored" of the last person, and that photo in each look.
    """

    settings: FiguresSettings
    pipe: FaceStudioPipeline
    portraits: Sequence[Image.Image]
    identities: Sequence[Identity]
    styles: dict[str, Image.Image]
    _taken: dict[str, Image.Image] = field(default_factory=dict)

    @property
    def everybody(self) -> range:
        """The people's numbers."""
        return range(len(self.portraits))

    def draw(
        self,
        who: Who,
        prompt: str | None = None,
        style: str | None = None,
        image: int | None = None,
        **options: Any,
    ) -> Image.Image:
        """A picture of people by number; style by name, "own" for a person's photo; taken once.

        image: the number of the person whose photo it starts from.
        """
        key = repr((who, prompt, style, image, options))
        if key not in self._taken:
            given = {"prompt": prompt, "style": self._style(who, style), **options}
            if image is not None:
                given["image"] = self.portraits[image]
            self._taken[key] = self._shoot(self.identify(who), given)
        return self._taken[key]

    def identify(self, who: Who) -> Any:
        """The identity, or the two, or None, as the pipeline takes them."""
        if isinstance(who, Mixed):
            return self.identities[who.one].mix(self.identities[who.other], who.share)
        if isinstance(who, tuple):
            return [self.identities[number] for number in who]
        return None if who is None else self.identities[who]

    def _style(self, who: Who, style: str | None) -> Image.Image | None:
        if style is None or style in self.styles:
            return self.styles.get(style or "")
        return self.portraits[int(style)]

    def _shoot(self, identity: Any, given: dict[str, Any]) -> Image.Image:
        settings = self.settings
        made = self.pipe(
            identity,
            **given,
            seed=settings.seed,
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
        )
        picture: Image.Image = made.images[0]
        return picture


def open_studio(settings: FiguresSettings, pipe: FaceStudioPipeline) -> Studio:
    """The studio with its people. Raises BadOption with too few, PictureError for a photo."""
    people = read_people(settings.people, limit=PEOPLE)
    if len(people) < PEOPLE:
        message = f"{settings.people}: {len(people)} people with two photos; {PEOPLE} are wanted"
        raise BadOption(message, file=settings.people)
    photos = [*(person.reference for person in people), read_picture(settings.photo)]
    portraits = [frame(pipe, photo) for photo in photos]
    identities = [pipe.identity(photo, largest=True) for photo in photos]
    styles = {PHOTO: portraits[-1], MIRRORED: ImageOps.mirror(portraits[-1])}
    styles |= {look: redraw(portraits[-1], look, pipe.limits.width) for look in settings.looks}
    return Studio(settings, pipe, portraits, identities, styles)


def frame(pipe: FaceStudioPipeline, photo: Image.Image) -> Image.Image:
    """Head and shoulders, twice as large as the model draws."""
    eyes = find_face(photo, pipe.detector, largest=True).eyes
    return align_portrait(photo, eyes, 2 * pipe.limits.width)


def redraw(portrait: Image.Image, look: str, px: int) -> Image.Image:
    """A portrait of `px` in a look, by image processing."""
    small = np.asarray(portrait.resize((px, px), Image.Resampling.LANCZOS))
    return Image.fromarray(STYLES[look](small, np.random.default_rng(0)))
