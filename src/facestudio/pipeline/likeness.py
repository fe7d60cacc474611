"""How like its person each face of a finished picture is, by the pipeline's own recogniser."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from facestudio.faces.align import align_face
from facestudio.faces.detect import Detector, Face, find_faces
from facestudio.faces.embed import IdentityEncoder
from facestudio.faces.identity import Identity

MEASURED_PX = 320  # smaller pictures are enlarged to about this before a face is looked for


def measure_likeness(
    picture: Image.Image,
    people: Sequence[Identity | None],
    masks: np.ndarray | None,
    encoder: IdentityEncoder,
    detector: Detector,
) -> list[float | None]:
    """One number per person: 0 as for strangers, 1 as for the same picture.

    A person's face is the largest in their part of the picture (masks (P, h, w); None: all of
    it). None where there is none, nobody was asked for, or the encoder is not calibrated.
    """
    if encoder.calibration is None or not any(people):
        return [None] * len(people)
    large = enlarge(picture)
    faces = _find_quickly(picture, large, detector)
    places = [None] * len(people) if masks is None else list(masks)
    return [
        _likeness_of(person, _pick(faces, place, large.size), large, encoder)
        for person, place in zip(people, places, strict=True)
    ]


def _find_quickly(picture: Image.Image, large: Image.Image, detector: Detector) -> list[Face]:
    """The faces of the enlarged picture, sought in the small one first: a third of the time."""
    if large is not picture and (faces := find_faces(picture, detector, retry=False)):
        return [face.grown(large.width / picture.width) for face in faces]
    return find_faces(large, detector)


def enlarge(picture: Image.Image) -> Image.Image:
    """The picture, by a whole factor so large that its shorter side has MEASURED_PX or more."""
    times = -(-MEASURED_PX // min(picture.size))
    if times <= 1:
        return picture
    size = (picture.width * times, picture.height * times)
    return picture.resize(size, Image.Resampling.BICUBIC)


def _likeness_of(
    person: Identity | None, face: Face | None, picture: Image.Image, encoder: IdentityEncoder
) -> float | None:
    if person is None or face is None or encoder.calibration is None:
        return None
    found = encoder.embed(align_face(picture, face.eyes)[None])[0]
    return float(encoder.calibration.similarity(person.embedding, found))


def _pick(faces: Sequence[Face], mask: np.ndarray | None, size: tuple[int, int]) -> Face | None:
    """The largest face whose centre lies in the mask."""
    inside = [face for face in faces if mask is None or _holds(mask, face, size)]
    return max(inside, key=lambda face: face.width, default=None)


def _holds(mask: np.ndarray, face: Face, size: tuple[int, int]) -> bool:
    left, top, right, bottom = face.box
    rows, columns = mask.shape
    row = int((top + bottom) / 2 / size[1] * rows)
    column = int((left + right) / 2 / size[0] * columns)
    return 0 <= row < rows and 0 <= column < columns and bool(mask[row, column])
