"""Photos that someone gives the page: read, the faces in them found, judged and chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from facestudio.errors import FaceTooSmall, MissingFile, NoFace
from facestudio.faces.align import align_face
from facestudio.faces.detect import find_faces, most_central
from facestudio.faces.identity import Identity
from facestudio.faces.quality import Quality, judge_face
from facestudio.images import decode_picture

if TYPE_CHECKING:
    from facestudio.faces.detect import Face
    from facestudio.pipeline.pipeline import FaceStudioPipeline

MAX_UPLOAD_MB = 20
MAX_PIXELS = 50_000_000
KEPT_PX = 2048  # the longer side that is worked with


@dataclass(frozen=True)
class Photo:
    """A photo with its faces, left to right, how good each is, and which one is chosen."""

    image: Image.Image
    faces: tuple[Face, ...]
    qualities: tuple[Quality, ...]
    chosen: int

    @property
    def face(self) -> Face:
        """The face that is chosen."""
        return self.faces[self.chosen]

    def choose(self, number: int) -> Photo:
        """The same photo with another face chosen; as it is where that one cannot be used."""
        usable = 0 <= number < len(self.faces) and self.qualities[number].usable
        return replace(self, chosen=number) if usable else self

    def crop(self, px: int) -> Image.Image:
        """The chosen face alone, `px` a side."""
        return Image.fromarray(align_face(self.image, self.face.eyes, px))

    def identity(self, pipe: FaceStudioPipeline) -> Identity:
        """Who the chosen face belongs to."""
        crop, encoder = align_face(self.image, self.face.eyes), pipe.identity_encoder
        return Identity.from_photos(encoder.embed(crop[np.newaxis]), encoder)


def read_upload(path: str, folder: Path) -> Image.Image:
    """The picture in an uploaded file, at most KEPT_PX a side; the file is deleted.

    Only files inside `folder`, where uploads arrive, are opened. Raises PictureError.
    """
    file = Path(path).resolve()
    if not file.is_relative_to(folder.resolve()) or not file.is_file():
        raise MissingFile("the upload did not arrive", hint="choose the picture again")
    data = file.read_bytes()
    file.unlink()
    image = decode_picture(data, file.name, max_pixels=MAX_PIXELS)
    image.thumbnail((KEPT_PX, KEPT_PX), Image.Resampling.LANCZOS)
    return image


def find_people(image: Image.Image, pipe: FaceStudioPipeline) -> Photo:
    """The photo with its faces; the most central large one is chosen. Raises PictureError."""
    faces = tuple(find_faces(image, pipe.detector))
    if not faces:
        hint = "use a photo in which the face looks at the camera and is not small"
        raise NoFace("no face was found in this photo", hint=hint)
    qualities = tuple(judge_face(image, face) for face in faces)
    if not any(quality.usable for quality in qualities):
        raise _too_small(qualities)
    usable = [face for face, q in zip(faces, qualities, strict=True) if q.usable]
    best = most_central(usable, image.size)
    return Photo(image, faces, qualities, [face is best for face in faces].index(True))


def _too_small(qualities: Sequence[Quality]) -> FaceTooSmall:
    widest = max(quality.face_px for quality in qualities)
    what = "the face is" if len(qualities) == 1 else "all faces are"
    message = f"{what} too small ({widest:.0f} pixels; 40 are needed)"
    return FaceTooSmall(message, hint="use a larger photo, or one taken from nearer")
