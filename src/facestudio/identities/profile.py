"""A saved person: who they are, how good each photo was, and a picture that the model made.

One safetensors file holds all of it: the identity (`Identity.save` says how), and beside it
`qualities` (n, 3), `similarities` (n, n) and `preview`, uint8 (H, W, 3). No photo is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from facestudio.errors import BadModel
from facestudio.faces.align import align_face
from facestudio.faces.identity import Identity, load_identity
from facestudio.faces.quality import Quality, judge_face

if TYPE_CHECKING:
    from facestudio.faces.embed import IdentityEncoder
    from facestudio.images import PictureLike
    from facestudio.pipeline.pipeline import FaceStudioPipeline

__all__ = [
    "STRANGERS",
    "Profile",
    "compare_photos",
    "draw_preview",
    "load_profile",
    "make_profile",
    "say_strangers",
]

STRANGERS = 0.15  # on LFW under it: nine in ten pairs of strangers, one in twenty of one person
PREVIEW_PX = 128
GREY = Image.new("RGB", (64, 64), "grey")


@dataclass(frozen=True, eq=False)
class Profile:
    """A saved person.

    qualities: of each photo. similarities: of each photo to each, float32 (n, n), strangers 0
    and the same picture 1; None where the encoder is not calibrated. preview: made by the model,
    None if there is none. All three may be missing in a file that holds an identity alone.
    """

    identity: Identity
    qualities: tuple[Quality, ...] = ()
    similarities: np.ndarray | None = None
    preview: Image.Image | None = None

    @property
    def lowest_similarity(self) -> float | None:
        """Of any two photos; None for one photo alone."""
        if self.similarities is None or len(self.similarities) < 2:
            return None
        pairs = np.triu_indices(len(self.similarities), 1)
        return float(self.similarities[pairs].min())

    def warnings(self) -> list[str]:
        """What is doubtful, in words: photos of two people, photos that show the face badly."""
        faults = [
            f"photo {number}: {', '.join(quality.faults())}"
            for number, quality in enumerate(self.qualities, start=1)
            if quality.faults()
        ]
        return [*self._strangers(), *faults]

    def _strangers(self) -> list[str]:
        return [] if self.similarities is None else say_strangers(self.similarities)

    def save(self, path: str | Path) -> None:
        """Write the file, all or nothing. Raises BadOutput, NoSpace."""
        tensors = {}
        if self.qualities:
            tensors["qualities"] = np.array([astuple(q) for q in self.qualities], np.float32)
        if self.similarities is not None:
            tensors["similarities"] = np.ascontiguousarray(self.similarities, np.float32)
        if self.preview is not None:
            tensors["preview"] = np.array(self.preview.convert("RGB"))
        self.identity.save(path, tensors)


def load_profile(path: str | Path) -> Profile:
    """The profile in a file that `save` or `Identity.save` wrote. Raises MissingFile, BadModel."""
    from safetensors import safe_open

    identity = load_identity(path)
    with safe_open(path, framework="numpy") as stored:
        beside = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    try:
        return Profile(identity, **_read_beside(beside, len(identity.photos)))
    except (TypeError, ValueError) as problem:
        raise BadModel(f"{path} is no profile: {problem}", file=path) from problem


def make_profile(
    pipe: FaceStudioPipeline,
    photos: Sequence[PictureLike],
    *,
    largest: bool = False,
    preview: bool = True,
) -> Profile:
    """The profile of the person in these photos, with a preview unless it is not wanted.

    largest: of several faces take the most central large one. Raises PictureError naming the
    photo.
    """
    encoder = pipe.identity_encoder
    found = [pipe.find_face(photo, largest=largest) for photo in photos]
    crops = np.stack([align_face(picture, face.eyes) for picture, face in found])
    identity = Identity.from_photos(encoder.embed(crops), encoder)
    qualities = tuple(judge_face(picture, face) for picture, face in found)
    similarities = compare_photos(identity, encoder)
    drawn = draw_preview(pipe, identity) if preview else None
    return Profile(identity, qualities, similarities, drawn)


def compare_photos(identity: Identity, encoder: IdentityEncoder) -> np.ndarray | None:
    """Of each photo to each, float32 (n, n); None where the encoder is not calibrated."""
    if encoder.calibration is None:
        return None
    compared = identity.photos[:, : identity.compare_dim]
    similarities: np.ndarray = encoder.calibration.similarity(compared[:, None], compared[None])
    return similarities


def say_strangers(similarities: np.ndarray) -> list[str]:
    """A sentence for any two photos that look like two people."""
    return [
        f"photos {a + 1} and {b + 1} look like two people "
        f"(similarity {similarities[a, b]:.2f}; strangers average 0)"
        for a, b in np.argwhere(np.triu(similarities < STRANGERS, 1))
    ]


def draw_preview(pipe: FaceStudioPipeline, identity: Identity) -> Image.Image:
    """A small picture of the person by the model: the face alone decides, no style counts."""
    words_only = pipe.image_towers is None
    plain: dict[str, Any] = {"prompt": "a portrait"} if words_only else {"style": GREY}
    drawn: Image.Image = pipe(identity, **plain, style_scale=0.0, seed=0).images[0]
    drawn.thumbnail((PREVIEW_PX, PREVIEW_PX))
    return drawn


def _read_beside(tensors: dict[str, np.ndarray], photos: int) -> dict[str, Any]:
    """What `Profile` takes beside the identity. Raises ValueError where shapes do not fit."""
    read: dict[str, Any] = {}
    if "qualities" in tensors:
        rows = tensors["qualities"].reshape(photos, 3)
        read["qualities"] = tuple(Quality(*map(float, row)) for row in rows)
    if "similarities" in tensors:
        read["similarities"] = tensors["similarities"].reshape(photos, photos)
    if "preview" in tensors:
        read["preview"] = Image.fromarray(tensors["preview"])
    return read
