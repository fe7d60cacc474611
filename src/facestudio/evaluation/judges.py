"""What looks at pictures: a detector and two recognisers, the model's own and one apart from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from facestudio.evaluation.measures import Scale
from facestudio.evaluation.recognisers import (
    align_five_points,
    embed_crops,
    find_central,
    load_detector,
)
from facestudio.evaluation.settings import DLIB, EvaluationSettings
from facestudio.faces.align import align_face
from facestudio.faces.detect import Detector, Face
from facestudio.faces.embed import DlibEncoder, IdentityEncoder, OnnxEncoder
from facestudio.pipeline.pipeline import FaceStudioPipeline

OWN, RAW, INDEPENDENT = "own", "own_raw", "independent"


@dataclass(frozen=True)
class Vectors:
    """Who is in N pictures: (N, D) by the model's own encoder and by the independent one.

    eyes: (N, 2, 2) in pixels. Rows are nan where no face was found.
    """

    own: np.ndarray
    independent: np.ndarray | None
    eyes: np.ndarray

    def __len__(self) -> int:
        return len(self.own)

    @property
    def seen(self) -> np.ndarray:
        """Where a face was found, bool (N,)."""
        return ~np.isnan(self.own[:, 0])

    def of(self, recogniser: str) -> np.ndarray:
        """The vectors that a recogniser of this name compares."""
        if recogniser != INDEPENDENT:
            return self.own
        assert self.independent is not None
        return self.independent

    def __getitem__(self, people: np.ndarray | list[int] | slice) -> Vectors:
        independent = None if self.independent is None else self.independent[people]
        return Vectors(self.own[people], independent, self.eyes[people])


@dataclass(frozen=True)
class Judges:
    """What looks at the pictures: a detector, the model's encoder, an independent one."""

    detector: Detector
    own: IdentityEncoder
    independent: IdentityEncoder | None
    min_face_px: int
    by_points: bool = True  # the independent one takes crops by five points, else by the eyes

    def look(self, pictures: Iterable[Image.Image | None]) -> Vectors:
        """Who is in the pictures; each is searched once, for its most central face.

        A missing picture shows nobody.
        """
        return self.embed(
            (picture, None if picture is None else self.find(picture)) for picture in pictures
        )

    def find(self, picture: Image.Image) -> Face | None:
        """The most central large face of a picture."""
        return find_central(picture, self.detector, self.min_face_px)

    def embed(self, found: Iterable[tuple[Image.Image | None, Face | None]]) -> Vectors:
        """Who the faces found in pictures are."""
        by_eyes: list[np.ndarray | None] = []
        by_points: list[np.ndarray | None] = []
        eyes = []
        for picture, face in found:
            if picture is None or face is None:
                by_eyes.append(None)
                by_points.append(None)
                eyes.append(np.full((2, 2), np.nan))
            else:
                by_eyes.append(align_face(picture, face.eyes))
                by_points.append(align_five_points(picture, face.points))
                eyes.append(face.eyes)
        independent = None
        if self.independent is not None:
            crops = by_points if self.by_points else by_eyes
            independent = embed_crops(self.independent, crops)
        places = np.array(eyes, np.float64).reshape(-1, 2, 2)
        return Vectors(embed_crops(self.own, by_eyes), independent, places)

    def scales(self) -> dict[str, Scale]:
        """How each recogniser's vectors are compared."""
        scales = {OWN: Scale.of(self.own.calibration), RAW: Scale()}
        if self.independent is None:
            return scales
        return scales | {INDEPENDENT: Scale.of(self.independent.calibration)}

    @property
    def trusted(self) -> str:
        """The recogniser whose figures come first: the independent one where there is one."""
        return OWN if self.independent is None else INDEPENDENT


def load_judges(settings: EvaluationSettings, pipe: FaceStudioPipeline) -> Judges:
    """The detector and the recognisers that the settings name."""
    independent: IdentityEncoder | None = None
    if settings.recogniser == DLIB:
        independent = DlibEncoder()
    elif settings.recogniser is not None:
        independent = OnnxEncoder(settings.recogniser, value_range=settings.recogniser_range)
    detector = load_detector(settings.detector)
    by_points = settings.recogniser != DLIB
    return Judges(detector, pipe.identity_encoder, independent, settings.min_face_px, by_points)
