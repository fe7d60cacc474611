"""From pictures to vectors that say who is in them, by the model's encoder and by another one."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facestudio.errors import BadOption, FaceTooSmall, MissingFile, MissingWeights, NoFace
from facestudio.faces.align import ARCFACE_POINTS, CROP_PX
from facestudio.faces.detect import Detector, DlibDetector, Face, find_face
from facestudio.faces.embed import IdentityEncoder

DETECTION_PX = 640
SCORE = 0.6
BATCH = 32
# The template counts from the middle of the first pixel, Face and Pillow from its outer corner.
TEMPLATE = ARCFACE_POINTS + 0.5


class YunetDetector:
    """YuNet through OpenCV (Wu et al. 2023): five true points, drawn faces too. Needs OpenCV."""

    name = "yunet"
    licence = "MIT"

    def __init__(self, path: str | Path) -> None:
        if not Path(path).is_file():
            raise MissingFile(f"no such detector: {path}", file=path, hint='give "dlib" or a file')
        if importlib.util.find_spec("cv2") is None:
            hint = "pip install 'facestudio[evaluation]', or take the detector dlib"
            raise MissingWeights("the detector YuNet needs OpenCV, which is missing", hint=hint)
        cv2: Any = importlib.import_module("cv2")
        size = (DETECTION_PX, DETECTION_PX)
        self._net = cv2.FaceDetectorYN.create(str(path), "", size, SCORE, 0.3, 50)

    def detect(self, image: Image.Image) -> list[Face]:
        """The faces in the picture, best score first."""
        scale = min(1.0, DETECTION_PX / max(image.size))
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        pixels = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BILINEAR))
        self._net.setInputSize(size)
        _, rows = self._net.detect(np.ascontiguousarray(pixels[:, :, ::-1]))
        stretch = np.array(image.size) / np.array(size)
        found = [] if rows is None else [_face_of(row, stretch) for row in rows]
        return sorted(found, key=lambda face: -face.score)


def load_detector(spec: str) -> Detector:
    """The detector "dlib", or YuNet from an ONNX file."""
    if spec == "dlib":
        return DlibDetector()
    if spec.endswith(".onnx"):
        return YunetDetector(spec)
    raise BadOption(f"detector={spec!r}: give dlib or the path of a YuNet .onnx file")


def find_central(picture: Image.Image, detector: Detector, min_px: int) -> Face | None:
    """The most central large face of a picture, None where there is none of `min_px` or more."""
    try:
        return find_face(picture, detector, largest=True, min_px=min_px)
    except (NoFace, FaceTooSmall):
        return None


def embed_crops(encoder: IdentityEncoder, crops: Sequence[np.ndarray | None]) -> np.ndarray:
    """Vectors (N, compare_dim) of aligned crops, nan where there is none."""
    vectors = np.full((len(crops), encoder.compare_dim), np.nan, np.float32)
    found = [index for index, crop in enumerate(crops) if crop is not None]
    for start in range(0, len(found), BATCH):
        part = found[start : start + BATCH]
        batch = np.stack([crops[index] for index in part])  # type: ignore[misc]
        vectors[part] = encoder.embed(batch)[:, : encoder.compare_dim]
    return vectors


def align_five_points(picture: Image.Image, points: np.ndarray) -> np.ndarray:
    """The ArcFace crop, uint8 (112, 112, 3), by the similarity that fits five points best."""
    turn, shift = fit_similarity(points, TEMPLATE)
    back = np.linalg.inv(turn)
    matrix = np.column_stack([back, -back @ shift]).ravel()
    size = (CROP_PX, CROP_PX)
    crop = picture.convert("RGB").transform(
        size, Image.Transform.AFFINE, matrix.tolist(), resample=Image.Resampling.BILINEAR
    )
    return np.asarray(crop)


def fit_similarity(source: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(A, b) of the similarity x -> A x + b that takes points (N, 2) nearest to others.

    Source: Umeyama, Least-squares estimation of transformation parameters (1991), eqs. 39-43.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    from_mean, to_mean = source.mean(0), target.mean(0)
    spread = ((source - from_mean) ** 2).sum() / len(source)
    if spread == 0:
        raise BadOption("a similarity needs two different points")
    covariance = (target - to_mean).T @ (source - from_mean) / len(source)
    left, singular, right = np.linalg.svd(covariance)
    signs = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right)) or 1.0])
    turn = (singular * signs).sum() / spread * (left * signs) @ right
    return turn, to_mean - turn @ from_mean


def _face_of(row: np.ndarray, stretch: np.ndarray) -> Face:
    """YuNet's row: box (x, y, width, height), five points from the picture's left eye, score."""
    left, top = row[:2] * stretch
    width, height = row[2:4] * stretch
    points = ((row[4:14].reshape(5, 2) + 0.5) * stretch).astype(np.float32)
    box = (float(left), float(top), float(left + width), float(top + height))
    return Face(box, points, float(row[14]))
