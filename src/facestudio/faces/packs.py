"""InsightFace's model packs: where they lie, their terms, and SCRFD, the detector in them."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from facestudio.errors import MissingWeights
from facestudio.faces.detect import Face
from facestudio.faces.embed import IdentityEncoder, InsightFaceEncoder, insightface_home

__all__ = [
    "LicenceNotice",
    "ScrfdDetector",
    "find_pack",
    "pack_detector",
    "require_pack",
    "tell_licence",
]

PREFIX = "insightface:"
DETECTOR = "det_*.onnx"
INPUT_PX = 640  # the side of the square that SCRFD searches
SITE = "https://github.com/deepinsight/insightface/releases"


class LicenceNotice(UserWarning):
    """A part in use whose licence narrows what its pictures may be used for."""


def find_pack(pack: str) -> Path | None:
    """The folder of an InsightFace pack on this machine, None where it is not here."""
    folder = insightface_home() / "models" / pack
    return folder if any(folder.glob("*.onnx")) else None


def require_pack(name: str) -> None:
    """Raise MissingWeights if `insightface:PACK` would have to be fetched."""
    pack = name.removeprefix(PREFIX)
    if name.startswith(PREFIX) and find_pack(pack) is None:
        raise MissingWeights(
            f"the InsightFace pack {pack} is not on this machine, and it is offline",
            hint=f"unpack {pack}.zip from {SITE} into ~/.insightface/models/{pack}, "
            "or give another identity encoder",
        )


def pack_detector(encoder: IdentityEncoder) -> ScrfdDetector | None:
    """SCRFD out of the pack that the encoder comes from; None for other encoders.

    The pack's licence is told once (LicenceNotice).
    """
    inner = getattr(encoder, "inner", encoder)
    if not isinstance(inner, InsightFaceEncoder):
        return None
    folder = find_pack(inner.name.removeprefix(PREFIX))
    tell_licence(inner.name, inner.licence)
    found = sorted(folder.glob(DETECTOR)) if folder else []
    return ScrfdDetector(found[0]) if found else None


@cache
def tell_licence(name: str, licence: str) -> None:
    """Say a part's narrow licence, once in a process."""
    warnings.warn(f"{name}: {licence}", LicenceNotice, stacklevel=2)


class ScrfdDetector:
    """SCRFD (Guo et al., arXiv 2105.04714) by InsightFace: boxes and five points of its own."""

    name = "scrfd"
    licence = InsightFaceEncoder.licence

    def __init__(self, path: Path) -> None:
        try:
            from insightface.model_zoo import get_model
        except ImportError as problem:
            hint = "pip install 'facestudio[insightface]'"
            raise MissingWeights("the package insightface is missing", hint=hint) from problem
        self._model: Any = get_model(str(path))
        self._model.prepare(ctx_id=-1, input_size=(INPUT_PX, INPUT_PX))

    def detect(self, image: Image.Image) -> list[Face]:
        """The faces in the picture, best score first."""
        blue_first = np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])
        boxes, points = self._model.detect(blue_first)
        faces = [
            Face((left, top, right, bottom), np.asarray(five, dtype=np.float32), score)
            for (left, top, right, bottom, score), five in zip(
                np.asarray(boxes, dtype=float).tolist(), points, strict=True
            )
        ]
        return sorted(faces, key=lambda face: -face.score)
