"""From aligned crops to identity embeddings, by one of several recognisers.

Every embedding begins with the recogniser's own vector (`compare_dim` numbers, root mean
square 1), which is what likeness is measured on. An encoder may add numbers on how the face
looks (`dimension - compare_dim` of them) that only the generator uses.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, get_args

import numpy as np
from PIL import Image

from facestudio.errors import BadModel, BadOption, MissingWeights
from facestudio.faces.align import CROP_PX
from facestudio.faces.calibration import Calibration, unit_rms
from facestudio.faces.detect import packaged_model
from facestudio.faces.encoder_folder import (
    ValueRange,
    load_network,
    read_description,
)

__all__ = [
    "DlibEncoder",
    "IdentityEncoder",
    "InsightFaceEncoder",
    "NetworkEncoder",
    "OnnxEncoder",
    "crops_to_pixels",
    "encoder_id",
    "recogniser_id",
]

BATCH = 32
BLIND = 0.99  # the least likeness of black, grey and noise; a MobileFaceNet in its range: 0.46


class IdentityEncoder(Protocol):
    """Whatever turns aligned face crops into identity embeddings."""

    name: str
    version: str
    dimension: int
    compare_dim: int
    licence: str
    calibration: Calibration | None

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """float32 (N, dimension) from uint8 crops (N, 112, 112, 3) made by `align_face`."""
        ...


def encoder_id(encoder: IdentityEncoder) -> str:
    """`name@version`: identities fit together only if this is the same."""
    return f"{encoder.name}@{encoder.version}"


def recogniser_id(encoder: IdentityEncoder) -> str:
    """`name@version` of what the first `compare_dim` numbers come from, with or without a map."""
    return encoder_id(getattr(encoder, "inner", encoder))


class DlibEncoder:
    """dlib's ResNet (King 2017), 128 numbers: the recogniser that needs no further download.

    Without a calibration of your own the packaged one counts (`dlib_calibration.json`, from
    1,400 people of CelebA and UTKFace): strangers then average 0.02-0.08 and one person
    0.70-0.92, on LFW, CelebA in the wild and the London set.
    """

    name = "dlib"
    version = "v1"
    dimension = 128
    compare_dim = 128
    licence = "CC0"

    # dlib's 150 px chip in the coordinates of the ArcFace crop: left, top, right, bottom. It
    # follows from the eyes of dlib's mean face, (0.2273, 0.2214) and (0.7528, 0.2212) with 25 %
    # padding, and reaches further down than the crop.
    CHIP_PX = 150
    CHIP_BOX = (6.285, 20.09, 106.87, 120.68)

    def __init__(self, calibration: Calibration | None = None) -> None:
        self._path = packaged_model("dlib_face_recognition_resnet_model_v1.dat")
        self._lock = threading.Lock()  # dlib's network keeps its activations
        self.calibration: Calibration | None = calibration or _packaged_calibration()

    @cached_property
    def _model(self) -> Any:
        """dlib's network, read for the first face: who brings an Identity needs none."""
        import dlib

        return dlib.face_recognition_model_v1(str(self._path))

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """float32 (N, 128), root mean square 1."""
        return unit_rms(_in_batches(self._run, _checked(crops), BATCH, self.dimension))

    def _run(self, crops: np.ndarray) -> np.ndarray:
        chips = [self._to_chip(crop) for crop in crops]
        with self._lock:
            return np.array(self._model.compute_face_descriptor(chips), dtype=np.float32)

    def _to_chip(self, crop: np.ndarray) -> np.ndarray:
        """dlib's chip, uint8 (150, 150, 3); the strip below the crop is its mirror image."""
        below = int(np.ceil(self.CHIP_BOX[3])) - CROP_PX
        grown = np.pad(crop, ((0, below), (0, 0), (0, 0)), mode="symmetric")
        size = (self.CHIP_PX, self.CHIP_PX)
        chip = Image.fromarray(grown).resize(size, Image.Resampling.BICUBIC, box=self.CHIP_BOX)
        return np.asarray(chip)


class OnnxEncoder:
    """An ArcFace-style recogniser in an ONNX file: RGB, NCHW, 112 × 112.

    `value_range` is what the file expects: "-1..1" (most ArcFace files) or "0..255". The
    version is the beginning of the file's SHA-256. Raises MissingWeights, and BadModel, also where
    the file tells no picture from another in this range: fed the other one, a recogniser says
    the same of everybody.
    """

    licence = "unknown: see where the file came from"

    def __init__(
        self,
        path: str | Path,
        name: str | None = None,
        *,
        value_range: ValueRange,
        calibration: Calibration | None = None,
    ) -> None:
        if value_range not in get_args(ValueRange):
            allowed = " or ".join(get_args(ValueRange))
            raise BadOption(f"value range is {value_range!r}; it must be {allowed}")
        self.path = Path(path)
        self.value_range: ValueRange = value_range
        self.calibration = calibration
        self._session = _onnx_session(self.path)
        self._input = self._session.get_inputs()[0]
        self.name = name or self.path.stem
        self.version = hashlib.sha256(self.path.read_bytes()).hexdigest()[:12]
        fixed = self._input.shape[0]
        self._batch = fixed if isinstance(fixed, int) else BATCH
        probe = self._run(np.zeros((1, CROP_PX, CROP_PX, 3), np.uint8))
        self.dimension = self.compare_dim = int(probe.shape[-1])
        if self._is_blind():
            (other,) = {*get_args(ValueRange)} - {value_range}
            message = f"{self.path}, fed {value_range}, gives all pictures the same vector"
            hint = f"it may want the range {other}: name it {self.path.name}:{other}"
            raise BadModel(message, file=self.path, hint=hint)

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """float32 (N, dimension), root mean square 1."""
        return unit_rms(_in_batches(self._run, _checked(crops), self._batch, self.dimension))

    def _is_blind(self) -> bool:
        """Whether black, grey and noise look the same to it."""
        shape = (CROP_PX, CROP_PX, 3)
        noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        vectors = self.embed(np.stack([np.zeros_like(noise), np.full_like(noise, 128), noise]))
        return bool((vectors @ vectors.T / self.dimension).min() > BLIND)

    def _run(self, crops: np.ndarray) -> np.ndarray:
        pixels = crops_to_pixels(crops) if self.value_range == "-1..1" else _to_nchw(crops)
        try:
            output = self._session.run(None, {self._input.name: pixels})[0]
            return np.asarray(output, dtype=np.float32).reshape(len(crops), -1)
        except Exception as problem:  # onnxruntime's errors share no base class of their own
            message = f"{self.path} does not take (N, 3, 112, 112): {problem}"
            raise BadModel(message, file=self.path) from problem


class NetworkEncoder:
    """This project's own recogniser, from a folder with identity.json and its weights."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        described = read_description(folder)
        if described.kind != "network" or described.network is None:
            raise BadModel(f"{folder} holds no network of ours but {described.kind}", file=folder)
        self.description = described
        self.name, self.version = described.name, described.version
        self.dimension, self.compare_dim = described.dimension, described.compare_dim
        self.licence = described.licence
        self.calibration = described.read_calibration()
        self._network = load_network(folder, described.network)

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """float32 (N, dimension): the recogniser's vector, then the grid of features."""
        return _in_batches(self._run, _checked(crops), BATCH, self.dimension)

    def _run(self, crops: np.ndarray) -> np.ndarray:
        import torch

        with torch.inference_mode():
            vectors = self._network(torch.from_numpy(crops_to_pixels(crops))).float().numpy()
        pooled = unit_rms(vectors[:, : self.compare_dim])
        return np.concatenate([pooled, vectors[:, self.compare_dim :]], axis=1)


class InsightFaceEncoder:
    """The recogniser of an InsightFace model pack, 512 numbers (extra `insightface`)."""

    version = "1"
    dimension = 512
    compare_dim = 512
    licence = "InsightFace model packs: non-commercial research only"

    def __init__(self, pack: str = "buffalo_l", calibration: Calibration | None = None) -> None:
        try:
            from insightface.app import FaceAnalysis
        except ImportError as problem:
            hint = "pip install 'facestudio[insightface]'"
            raise MissingWeights("the package insightface is missing", hint=hint) from problem
        packs = FaceAnalysis(
            name=pack,
            root=str(insightface_home()),
            allowed_modules=["detection", "recognition"],
        )
        models = packs.models
        if "recognition" not in models:
            raise BadModel(f"the InsightFace pack {pack} holds no recogniser", hint="use buffalo_l")
        self._model = models["recognition"]
        self.name = f"insightface:{pack}"
        self.calibration = calibration

    def embed(self, crops: np.ndarray) -> np.ndarray:
        """float32 (N, 512), root mean square 1."""
        return unit_rms(_in_batches(self._run, _checked(crops), BATCH, self.dimension))

    def _run(self, crops: np.ndarray) -> np.ndarray:
        blue_first = [np.ascontiguousarray(crop[..., ::-1]) for crop in crops]
        return np.asarray(self._model.get_feat(blue_first), dtype=np.float32)


def insightface_home() -> Path:
    """The folder whose `models` holds InsightFace's packs."""
    return Path(os.environ.get("INSIGHTFACE_HOME", Path.home() / ".insightface"))


def _onnx_session(path: Path) -> Any:
    if not path.is_file():
        raise MissingWeights(f"{path} is missing", file=path, hint="give the path of an .onnx file")
    try:
        import onnxruntime
    except ImportError as problem:
        hint = "pip install 'facestudio[onnx]'"
        raise MissingWeights("the package onnxruntime is missing", hint=hint) from problem
    try:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as problem:  # onnxruntime's errors share no base class of their own
        raise BadModel(f"{path} is no usable ONNX file: {problem}", file=path) from problem


def _packaged_calibration() -> Calibration:
    text = resources.files("facestudio.faces").joinpath("dlib_calibration.json").read_text("utf-8")
    return Calibration.from_dict(json.loads(text))


def _checked(crops: np.ndarray) -> np.ndarray:
    if crops.dtype != np.uint8 or crops.shape[1:] != (CROP_PX, CROP_PX, 3):
        wanted = f"uint8 (N, {CROP_PX}, {CROP_PX}, 3)"
        raise BadOption(f"crops are {crops.dtype} {crops.shape}; wanted {wanted} from align_face")
    return crops


def _in_batches(
    run: Callable[[np.ndarray], np.ndarray], crops: np.ndarray, batch: int, dimension: int
) -> np.ndarray:
    """What `run` gives for all crops, float32 (N, dimension), `batch` at a time."""
    parts = [run(crops[start : start + batch]) for start in range(0, len(crops), batch)]
    return np.concatenate([np.zeros((0, dimension), np.float32), *parts])


def _to_nchw(crops: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(crops.transpose(0, 3, 1, 2), dtype=np.float32)


def crops_to_pixels(crops: np.ndarray) -> np.ndarray:
    """float32 (N, 3, H, W) in -1...1 of uint8 pictures (N, H, W, 3)."""
    return _to_nchw(crops) / 127.5 - 1
