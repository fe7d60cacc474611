"""How well a photo shows a face: large enough, sharp, looking at the camera.

Thresholds: of 150 CelebA photos 1 % are under 0.2 in sharpness, and one in twelve is over 0.2 in
turn, where heads are plainly turned. The astronaut has a sharpness of 0.57; blurred by one pixel
0.19, by two 0.08.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from facestudio.faces.align import ARCFACE_POINTS, align_face
from facestudio.faces.detect import MIN_FACE_PX, Face

__all__ = ["Quality", "judge_face"]

GOOD_FACE_PX = 60
MIN_SHARPNESS = 0.12
MAX_TURN = 0.2


@dataclass(frozen=True)
class Quality:
    """What is good and bad about one face in a photo.

    face_px: the shorter side of its box. sharpness: spread of the second differences of the
    aligned crop over the spread of its brightness; about 0.2 to 0.7 in good photos. turn: how
    far the nose lies beside the middle of the eyes, in distances between them; to the right in
    the picture over 0, about 0.35 where the head is turned by half a right angle.
    """

    face_px: float
    sharpness: float
    turn: float

    @property
    def usable(self) -> bool:
        """Whether the face is large enough to say who it is."""
        return self.face_px >= MIN_FACE_PX

    def faults(self) -> list[str]:
        """What is wrong with it, in words, the worst first; nothing for a good photo."""
        return [
            words
            for words, at_fault in (
                (f"too small ({self.face_px:.0f} pixels)", self.face_px < GOOD_FACE_PX),
                ("blurred", self.sharpness < MIN_SHARPNESS),
                ("turned away", abs(self.turn) > MAX_TURN),
            )
            if at_fault
        ]


def judge_face(image: Image.Image, face: Face) -> Quality:
    """The quality of a face that was found in this picture."""
    crop = Image.fromarray(align_face(image, face.eyes)).convert("L")
    face_px = min(face.width, face.height)
    return Quality(face_px, measure_sharpness(np.asarray(crop)), measure_turn(face.points))


def measure_sharpness(grey: np.ndarray) -> float:
    """The spread of second differences of a picture (H, W) over that of its brightness."""
    tone = grey.astype(np.float64)
    middle, around = tone[1:-1, 1:-1], tone[:-2, 1:-1] + tone[2:, 1:-1]
    around = around + tone[1:-1, :-2] + tone[1:-1, 2:]
    return float((4 * middle - around).std() / max(tone.std(), 1.0))


def measure_turn(points: np.ndarray) -> float:
    """How far the nose of points (5, 2) lies beside the eyes' middle, a frontal face's 0."""
    return _beside(points) - _beside(ARCFACE_POINTS)


def _beside(points: np.ndarray) -> float:
    left, right, nose = points[:3].astype(np.float64)
    across = right - left
    return float((nose - (left + right) / 2) @ across / max(across @ across, 1e-9))
