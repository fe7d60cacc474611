"""Which identity encoder a name means, and the folder one is kept in."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from facestudio.errors import BadModel
from facestudio.faces.embed import (
    DlibEncoder,
    IdentityEncoder,
    InsightFaceEncoder,
    NetworkEncoder,
    OnnxEncoder,
)
from facestudio.faces.encoder_folder import (
    FACE_MAP,
    NETWORK_WEIGHTS,
    ONNX_WEIGHTS,
    EncoderDescription,
    ValueRange,
    read_description,
    write_description,
)
from facestudio.faces.mapped import MappedEncoder

__all__ = ["add_face_map", "load_identity_encoder", "save_identity_encoder"]


def load_identity_encoder(spec: str | Path) -> IdentityEncoder:
    """The encoder named: "dlib", "insightface:PACK", a folder, or a path that ends in .onnx.

    An ONNX file is fed -1..1; write `file.onnx:0..255` for one that wants that range.
    Raises MissingWeights, BadModel.
    """
    name, _, detail = str(spec).rpartition(":")
    if str(spec) == "dlib":
        return DlibEncoder()
    if "insightface" in (name, detail):
        return InsightFaceEncoder(detail if name else "buffalo_l")
    if name.endswith(".onnx") and detail in get_args(ValueRange):
        return OnnxEncoder(name, value_range=detail)  # type: ignore[arg-type]
    if str(spec).endswith(".onnx"):
        return OnnxEncoder(spec, value_range="-1..1")
    return _load_folder(Path(spec))


def save_identity_encoder(encoder: IdentityEncoder, folder: str | Path) -> None:
    """Write identity.json and the weights so that `load_identity_encoder(folder)` gives it back.

    Weights that belong to an installed package (dlib, InsightFace) stay there.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(encoder, MappedEncoder):
        save_identity_encoder(encoder.inner, folder)
        encoder.mapper.save_pretrained(folder / FACE_MAP)
        write_description(folder, replace(read_description(folder), face_map=True))
        return
    if isinstance(encoder, NetworkEncoder):
        _copy(encoder.folder / NETWORK_WEIGHTS, folder / NETWORK_WEIGHTS)
        write_description(folder, encoder.description)
        return
    value_range: ValueRange | None = None
    if isinstance(encoder, OnnxEncoder):
        _copy(encoder.path, folder / ONNX_WEIGHTS)
        value_range = encoder.value_range
    described = EncoderDescription(
        kind=_kind(encoder),
        name=encoder.name,
        version=encoder.version,
        dimension=encoder.dimension,
        compare_dim=encoder.compare_dim,
        licence=encoder.licence,
        calibration=encoder.calibration.to_dict() if encoder.calibration else None,
        value_range=value_range,
    )
    write_description(folder, described)


def add_face_map(inner: IdentityEncoder, folder: Path) -> MappedEncoder:
    """The encoder with the FaceMapper in `folder`, as a trained generator exports it.

    Raises BadModel.
    """
    from facestudio.faces.face_map import FaceMapper

    try:
        mapper = FaceMapper.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError) as problem:
        raise BadModel(f"{folder} does not load: {problem}", file=folder) from problem
    return MappedEncoder(inner, mapper.float())


def _load_folder(folder: Path) -> IdentityEncoder:
    described = read_description(folder)
    inner = _load_recogniser(folder, described)
    return add_face_map(inner, folder / FACE_MAP) if described.face_map else inner


def _load_recogniser(folder: Path, described: EncoderDescription) -> IdentityEncoder:
    calibration = described.read_calibration()
    if described.kind == "network":
        return NetworkEncoder(folder)
    if described.kind == "insightface":
        return InsightFaceEncoder(described.name.partition(":")[2], calibration)
    if described.kind == "onnx":
        value_range = described.value_range or "-1..1"
        path = folder / ONNX_WEIGHTS
        return OnnxEncoder(path, described.name, value_range=value_range, calibration=calibration)
    return DlibEncoder(calibration)


def _kind(encoder: IdentityEncoder) -> Any:
    kinds = {DlibEncoder: "dlib", OnnxEncoder: "onnx", InsightFaceEncoder: "insightface"}
    try:
        return kinds[type(encoder)]
    except KeyError as problem:
        raise BadModel(f"the encoder {encoder.name} cannot be written to a folder") from problem


def _copy(source: Path, target: Path) -> None:
    if not (target.exists() and source.samefile(target)):
        shutil.copyfile(source, target)
