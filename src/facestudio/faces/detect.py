"""From a picture to the faces in it: boxes and five points.

Coordinates are pixels of the picture given, with (0, 0) the outer corner of the first pixel;
a face cut by the edge has a box that reaches beyond the picture.
"""

from __future__ import annotations

import importlib.util
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from facestudio.errors import Box, FaceTooSmall, MissingWeights, NoFace, SeveralFaces
from facestudio.faces.align import ARCFACE_POINTS, align_points
from facestudio.images import pad_reflect

__all__ = [
    "Detector",
    "DlibDetector",
    "Face",
    "find_face",
    "find_faces",
    "most_central",
    "packaged_model",
]

MIN_FACE_PX = 40
RETRY_PADDING = 0.3  # found more tight crops than 0.4 and 0.6
LARGE_SHARE = 0.6  # a face is large if it is at least this part of the widest

# dlib's mean face: the middles of the eyes' corners and the base of the nose.
DLIB_EYES = np.array([[0.2273, 0.2214], [0.7528, 0.2212]])
DLIB_NOSE = np.array([[0.4901, 0.6278]])


@dataclass(frozen=True)
class Face:
    """A detected face.

    `box` is left, top, right, bottom; `points` is float32 (5, 2): left eye, right eye, tip of
    the nose, left and right corner of the mouth, as seen in the picture.
    """

    box: Box
    points: np.ndarray
    score: float

    @property
    def eyes(self) -> np.ndarray:
        """The centres of the eyes, (2, 2)."""
        return self.points[:2]

    @property
    def width(self) -> float:
        """The box's width in pixels."""
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        """The box's height in pixels."""
        return self.box[3] - self.box[1]

    @property
    def centre(self) -> tuple[float, float]:
        """The box's middle (x, y)."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    def moved(self, x: float, y: float) -> Face:
        """The same face seen from a picture whose corner lies at (-x, -y)."""
        left, top, right, bottom = self.box
        box = (left + x, top + y, right + x, bottom + y)
        return replace(self, box=box, points=self.points + np.array([x, y], np.float32))

    def grown(self, times: float) -> Face:
        """The same face in the picture enlarged so many times."""
        left, top, right, bottom = (edge * times for edge in self.box)
        return replace(self, box=(left, top, right, bottom), points=self.points * np.float32(times))


class Detector(Protocol):
    """Whatever finds faces in an RGB picture."""

    name: str
    licence: str

    def detect(self, image: Image.Image) -> list[Face]:
        """The faces in the picture, in any order."""
        ...


class DlibDetector:
    """dlib's HOG detector and five-point predictor (King 2009; Kazemi & Sullivan 2014).

    The predictor gives the corners of the eyes and the base of the nose. Eye centres are the
    means of their corners; nose tip and mouth corners follow from the eyes through the ArcFace
    template, so they are estimates that assume a frontal face, but for the tip of the nose, which
    is moved as far as its base is seen from where a frontal face has it.
    """

    name = "dlib-hog"
    licence = "detector: Boost; five-point predictor: CC0"

    # Longer side the picture is brought to, and the score asked for; the next only if the ones
    # before find nothing. HOG sees faces from 80 px. Measured on LFW, CelebA and London faces.
    PASSES = ((960, 0.25), (480, 0.0), (1920, 0.25))
    MAX_ENLARGEMENT = 4.0

    def __init__(self, passes: Sequence[tuple[int, float]] = PASSES) -> None:
        import dlib

        self.passes = tuple(passes)
        predictor = packaged_model("shape_predictor_5_face_landmarks.dat")
        self._predictor = dlib.shape_predictor(str(predictor))
        # dlib's detector keeps scratch memory, so each thread borrows one; the next is made (half
        # a second) only while all are in use.
        self._free = [dlib.get_frontal_face_detector()]
        self._make = dlib.get_frontal_face_detector
        self._at_once = threading.BoundedSemaphore(os.cpu_count() or 1)

    def detect(self, image: Image.Image) -> list[Face]:
        """The faces in the picture, best score first."""
        for scale, threshold in self._passes(max(image.size)):
            size = (max(round(image.width * scale), 1), max(round(image.height * scale), 1))
            pixels = np.ascontiguousarray(
                image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
            )
            with self._borrowed() as detector:
                boxes, scores, _ = detector.run(pixels, 0, threshold)
            shapes = [self._predictor(pixels, box) for box in boxes]
            if shapes:
                stretch = np.array([image.width / size[0], image.height / size[1]])
                return [
                    _face(shape, score, stretch)
                    for shape, score in zip(shapes, scores, strict=True)
                ]
        return []

    @contextmanager
    def _borrowed(self) -> Iterator[Any]:
        with self._at_once:
            try:
                detector = self._free.pop()
            except IndexError:
                detector = self._make()
            try:
                yield detector
            finally:
                self._free.append(detector)

    def _passes(self, side: int) -> Iterator[tuple[float, float]]:
        seen = set()
        for target, threshold in self.passes:
            scale = min(target / side, self.MAX_ENLARGEMENT)
            if scale not in seen:
                seen.add(scale)
                yield scale, threshold


def find_faces(image: Image.Image, detector: Detector, *, retry: bool = True) -> list[Face]:
    """The faces in the picture, left to right.

    Where none is found (a tight crop), the picture is padded and searched once more, if `retry`.
    """
    faces = detector.detect(image)
    if not faces and retry:
        padded, (x, y) = pad_reflect(image, RETRY_PADDING)
        moved = (face.moved(-x, -y) for face in detector.detect(padded))
        faces = [face for face in moved if _eyes_inside(face, image.size)]
    return sorted(faces, key=lambda face: face.centre)


def find_face(
    image: Image.Image,
    detector: Detector,
    *,
    largest: bool = False,
    min_px: int = MIN_FACE_PX,
    file: str | Path | None = None,
    retry: bool = True,
) -> Face:
    """The one face of the picture that is at least `min_px` wide and high.

    `largest` takes the most central of the large ones where there are several. `file` is the
    name used in errors; `retry` as in `find_faces`. Raises NoFace, FaceTooSmall, SeveralFaces.
    """
    faces = find_faces(image, detector, retry=retry)
    name = f"{file or 'the picture'} ({image.width}×{image.height})"
    if not faces:
        hint = "use a photo where the face looks at the camera and is over 60 pixels wide"
        raise NoFace(f"no face found in {name}", file=file, hint=hint)
    usable = [face for face in faces if min(face.width, face.height) >= min_px]
    if not usable:
        raise _too_small(faces, min_px, name, file)
    if len(usable) > 1 and not largest:
        message = f"{len(usable)} faces found in {name}; one is wanted"
        hint = "crop the photo to one person, or take the largest face (--largest)"
        raise SeveralFaces(message, file=file, hint=hint, boxes=[face.box for face in usable])
    return most_central(usable, image.size)


def packaged_model(name: str) -> Path:
    """Where a `.dat` file of the package face_recognition_models lies.

    The package is not imported: its own code fails on a present setuptools.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    path = Path(spec.origin).parent / "models" / name if spec and spec.origin else None
    if path is None or not path.is_file():
        hint = "pip install face_recognition_models==0.3.0"
        raise MissingWeights(f"{name} of face_recognition_models is missing", hint=hint)
    return path


def _face(shape: Any, score: float, stretch: np.ndarray) -> Face:
    corners = np.array([[part.x + 0.5, part.y + 0.5] for part in shape.parts()])
    eyes = np.stack([corners[2:4].mean(0), corners[0:2].mean(0)]) * stretch
    rect = shape.rect
    low = np.array([rect.left(), rect.top()]) * stretch
    high = np.array([rect.right() + 1, rect.bottom() + 1]) * stretch
    points = align_points(ARCFACE_POINTS, ARCFACE_POINTS[:2], eyes)
    points[2] += corners[4] * stretch - align_points(DLIB_NOSE, DLIB_EYES, eyes)[0]
    box = (*map(float, low), *map(float, high))
    return Face(box, points.astype(np.float32), float(score))  # type: ignore[arg-type]


def _eyes_inside(face: Face, size: tuple[int, int]) -> bool:
    """False for a mirror image in the padding."""
    x, y = face.eyes.mean(axis=0)
    return bool(0 <= x <= size[0] and 0 <= y <= size[1])


def _too_small(
    faces: Sequence[Face], min_px: int, name: str, file: str | Path | None
) -> FaceTooSmall:
    best = max(faces, key=lambda face: face.width)
    message = f"the face in {name} is {best.width:.0f}×{best.height:.0f} pixels; at least {min_px}"
    hint = "use a larger photo or one taken from nearer"
    return FaceTooSmall(message, file=file, hint=hint, boxes=[face.box for face in faces])


def most_central(faces: Sequence[Face], size: tuple[int, int]) -> Face:
    """Of the large faces of a picture of `size` (width, height), the one nearest its middle."""
    widest = max(face.width for face in faces)
    large = [face for face in faces if face.width >= LARGE_SHARE * widest]
    middle = np.array(size) / 2
    return min(large, key=lambda face: float(np.linalg.norm(np.array(face.centre) - middle)))
