"""People in a picture, outlined: torchvision's Mask R-CNN, each person matched to a face.

Used where torchvision is installed and its weights are on this machine (He et al., arXiv
1703.06870; COCO's class "person"); elsewhere regions are boxes around the faces (`regions.py`).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from facestudio.faces.detect import Detector, Face, find_faces
from facestudio.faces.regions import Region, find_regions

__all__ = ["MaskRcnn", "PersonSegmenter", "find_people", "installed_segmenter", "match_people"]

PERSON = 1  # COCO's number
MIN_SCORE = 0.7
MIN_SHARE = 0.6  # of a face's box that must lie in the person it belongs to
WEIGHTS = "maskrcnn_resnet50_fpn_v2_coco-73cbd019.pth"


class PersonSegmenter(Protocol):
    """Whatever outlines people in an RGB picture."""

    def segment(self, image: Image.Image) -> list[np.ndarray]:
        """A mask, bool (H, W), for each person, surest first."""
        ...


def find_people(
    image: Image.Image, detector: Detector, n: int, segmenter: PersonSegmenter | None = None
) -> list[Region]:
    """Regions of the `n` people with the largest faces, left to right.

    Their outlines where the segmenter (by default the installed one) finds each of them, else
    boxes about the faces. Raises BadRegion if there are fewer faces.
    """
    boxes = [Region(box=box) for box in find_regions(image, detector, n)]
    segmenter = segmenter or installed_segmenter()
    if segmenter is None:
        return boxes
    faces = sorted(find_faces(image, detector), key=lambda face: face.width, reverse=True)[:n]
    masks = match_people(sorted(faces, key=lambda face: face.centre), segmenter.segment(image))
    return boxes if masks is None else [Region(mask=mask) for mask in masks]


def match_people(faces: Sequence[Face], masks: Sequence[np.ndarray]) -> list[np.ndarray] | None:
    """For each face the mask of its person; None unless every face has a person of its own.

    The surest pairs come first: those where most of the face's box lies in the mask.
    """
    shares = np.array([[_share(face, mask) for mask in masks] for face in faces])
    shares = shares.reshape(len(faces), len(masks))
    chosen: dict[int, int] = {}
    while len(chosen) < len(faces) and shares.size and shares.max() >= MIN_SHARE:
        face, mask = np.unravel_index(shares.argmax(), shares.shape)
        chosen[int(face)] = int(mask)
        shares[face], shares[:, mask] = -1, -1
    if len(chosen) < len(faces):
        return None
    return [masks[chosen[face]] for face in range(len(faces))]


@cache
def installed_segmenter() -> PersonSegmenter | None:
    """Mask R-CNN, loaded once; None where torchvision or its weights are not on this machine."""
    if importlib.util.find_spec("torchvision") is None:
        return None
    import torch

    weights = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS
    return MaskRcnn(weights) if weights.is_file() else None


class MaskRcnn:
    """torchvision's Mask R-CNN with its weights from a file."""

    def __init__(self, weights: Path) -> None:
        import torch
        from torchvision.models.detection import maskrcnn_resnet50_fpn_v2

        self._network = maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None)
        self._network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
        self._network.eval()

    def segment(self, image: Image.Image) -> list[np.ndarray]:
        """A mask, bool (H, W), for each person, surest first."""
        import torch

        pixels = np.asarray(image.convert("RGB"), dtype=np.float32) / 255
        with torch.inference_mode():
            found = self._network([torch.from_numpy(pixels).permute(2, 0, 1)])[0]
        people = (found["labels"] == PERSON) & (found["scores"] >= MIN_SCORE)
        return list((found["masks"][people][:, 0] > 0.5).numpy())


def _share(face: Face, mask: np.ndarray) -> float:
    """How much of the face's box lies in the mask, 0...1."""
    height, width = mask.shape
    left, right = (int(np.clip(round(x), 0, width)) for x in (face.box[0], face.box[2]))
    top, bottom = (int(np.clip(round(y), 0, height)) for y in (face.box[1], face.box[3]))
    inside = mask[top:bottom, left:right]
    return float(inside.mean()) if inside.size else 0.0
