"""A model folder in diffusers' form <-> the parts of a pipeline.

    model_index.json      {part: [module, class]}, and the config of the model as a whole
    unet/  scheduler/  guidance/  prior/  look_reader/  codec/ or vae/   as diffusers writes each
    image_encoder_0/ …  text_encoder_0/ …  tokenizer/          as transformers writes each
    identity.json         the identity encoder, its licence and calibration

Weights are safetensors only, and only classes of diffusers and of this package are built: a
folder cannot run code of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

import facestudio
from facestudio.codec.kl import KLCodec
from facestudio.encoders.late import LateEncoder
from facestudio.errors import BadModel, BadOption, MissingWeights
from facestudio.faces.detect import Detector, DlibDetector
from facestudio.faces.embed import IdentityEncoder
from facestudio.faces.load import load_identity_encoder, save_identity_encoder
from facestudio.faces.packs import pack_detector
from facestudio.images import write_bytes
from facestudio.pipeline.folder import INDEX, find_model, read_index
from facestudio.pipeline.late_codec import LateCodec
from facestudio.pipeline.packed import pack, packs
from facestudio.pipeline.parts import PipelineConfig
from facestudio.pipeline.precision import at_least_fp32
from facestudio.pipeline.stream import read_streamed
from facestudio.settings import from_dict, to_dict

if TYPE_CHECKING:
    from facestudio.pipeline.parts import Parts

__all__ = [
    "INDEX",
    "choose_detector",
    "find_model",
    "load_part",
    "load_parts",
    "read_index",
    "save_parts",
    "store_as_half",
]

# part of the pipeline: its name in the index and, for most, its folder
FOLDERS = {part: part for part in ("unet", "scheduler", "guidance", "prior", "look_reader")}
TOWERS = {"image_towers": "image_encoder", "text_towers": "text_encoder"}
OPTIONAL = ("prior", "text_towers", "look_reader")
STREAMED = ("UNet2DConditionModel", "MappedUNet", "AutoencoderKL", "AdapterGuidance")
PACKED = STREAMED[:3]
VAE_CONFIG = "config.json"
KEEPS_FP32 = ("HybridGuidance", "EmbeddingPrior", "PatchCodec", "LookReader")


def load_parts(
    name: str | Path,
    dtype: torch.dtype = torch.float32,
    detector: Detector | None = None,
    keep_encoders: bool = True,
    packed: bool = False,
) -> dict[str, Any]:
    """What `FaceStudioPipeline(**parts)` takes, from a model folder; networks in `dtype`.

    keep_encoders: else those of pictures and words are read when needed and let go after, and an
    autoencoder when the first picture is decoded.
    packed: the large networks are laid out for this processor as they are read, where that pays.

    Weights stored as fp16 are brought to `dtype`; small parts whose rounding would be seen
    (`KEEPS_FP32`) have float32 at least. Raises MissingWeights, BadModel.
    """
    folder = find_model(name)
    index = read_index(folder)
    config = _read_config(folder, index)
    packed = packed and packs(dtype)
    parts = {part: load_part(folder, key, index, dtype, packed) for part, key in FOLDERS.items()}
    read = _load_towers if keep_encoders else _find_towers
    parts |= {part: read(folder, key, index, dtype) for part, key in TOWERS.items()}
    for part, value in parts.items():
        if value is None and part not in OPTIONAL and _is_needed(part, parts["guidance"]):
            raise BadModel(f"{folder / INDEX} names no {part}", file=str(folder / INDEX))
    encoder = load_identity_encoder(folder)
    return parts | {
        "codec": _load_codec(folder, index, dtype, packed, late=not keep_encoders),
        "identity_encoder": encoder,
        "detector": detector or choose_detector(encoder),
        "config": config,
    }


def choose_detector(encoder: IdentityEncoder) -> Detector:
    """SCRFD where the encoder is of a pack that holds it, else dlib's."""
    return pack_detector(encoder) or DlibDetector()


def save_parts(parts: Parts, folder: Path, *, half: bool | torch.dtype = False) -> None:
    """Write the model folder; the index comes last, so that half a folder is not taken for one.

    half: weights as fp16, or as the 16-bit type given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index: dict[str, Any] = {
        "_class_name": "FaceStudioPipeline",
        "_facestudio_version": facestudio.__version__,
        "config": to_dict(parts.config),
    }
    for part, key in FOLDERS.items():
        index |= _save_folder(getattr(parts, part), folder, key)
    codec = parts.codec.read() if isinstance(parts.codec, LateCodec) else parts.codec
    vae = codec.vae if isinstance(codec, KLCodec) else None
    index |= _save_folder(vae or codec, folder, "vae" if vae else "codec")
    for part, key in TOWERS.items():
        if (towers := getattr(parts, part)) is not None:
            towers.save(folder)
            index[key] = _class_of(towers)
    save_identity_encoder(parts.identity_encoder, folder)
    if half:
        store_as_half(folder, torch.float16 if half is True else half)
    write_bytes(folder / INDEX, (json.dumps(index, indent=2) + "\n").encode())


def store_as_half(folder: Path, dtype: torch.dtype = torch.float16) -> None:
    """Rewrite every safetensors file below `folder` with fp32 weights in a 16-bit type.

    A tensor with numbers beyond that type's range stays as it is.
    """
    for path in sorted(folder.rglob("*.safetensors")):
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        save_file({k: _as_half(v, dtype) for k, v in load_file(path).items()}, path, metadata)


def _as_half(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    if tensor.dtype != torch.float32:
        return tensor
    half = tensor.to(dtype)
    return half if bool(half.isfinite().all()) else tensor


def _is_needed(part: str, guidance: Any) -> bool:
    """Whether a model of this guidance has the part: without a style adapter no image towers."""
    return part != "image_towers" or guidance is None or guidance.style_dim > 0


def _read_config(folder: Path, index: dict[str, Any]) -> PipelineConfig:
    try:
        return from_dict(PipelineConfig, index.get("config", {}), "config")
    except BadOption as problem:
        raise BadModel(f"{folder / INDEX}: {problem}", file=str(folder / INDEX)) from problem


def _load_codec(
    folder: Path, index: dict[str, Any], dtype: torch.dtype, packed: bool, late: bool
) -> Any:
    def read_vae() -> KLCodec:
        codec = KLCodec(load_part(folder, "vae", index, dtype, packed)).eval()
        return pack(codec) if packed else codec  # files of older forms are read unpacked

    if index.get("vae"):
        _check_complete(folder / "vae", VAE_CONFIG, has_weights=True)
        return LateCodec(read_vae, folder / "vae" / VAE_CONFIG) if late else read_vae()
    if codec := load_part(folder, "codec", index, dtype):
        return codec
    raise BadModel(f"{folder / INDEX} names neither codec nor vae", file=str(folder / INDEX))


def load_part(
    folder: Path, key: str, index: dict[str, Any], dtype: torch.dtype, packed: bool = False
) -> Any:
    """The part in `folder/key` in `dtype`, or None if the index does not name it.

    packed: laid out for this processor, if it is one of the large networks.

    Raises MissingWeights, BadModel.
    """
    if index.get(key) is None:
        return None
    kind, path = _class_named(index[key], folder), folder / key
    has_weights = hasattr(kind, "load_state_dict")  # a scheduler has settings only
    _check_complete(path, kind.config_name, has_weights)
    with _saying_which(path):
        if not has_weights:
            return kind.from_pretrained(path, local_files_only=True)
        dtype = at_least_fp32(dtype) if kind.__name__ in KEEPS_FP32 else dtype
        if kind.__name__ in STREAMED:
            pack_it = packed and kind.__name__ in PACKED
            if network := read_streamed(kind, path, dtype, pack_it):
                return network
        part, info = kind.from_pretrained(
            path,
            torch_dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    if absent := sorted(info["missing_keys"]):
        message = f"{path}: {len(absent)} weights are absent, the first is {absent[0]}"
        raise BadModel(message, file=str(path))
    return part


def _load_towers(folder: Path, key: str, index: dict[str, Any], dtype: torch.dtype) -> Any:
    if index.get(key) is None:
        return None
    return _class_named(index[key], folder).load(folder).to(dtype)


def _find_towers(
    folder: Path, key: str, index: dict[str, Any], dtype: torch.dtype
) -> LateEncoder | None:
    if index.get(key) is None:
        return None
    return LateEncoder(_class_named(index[key], folder), folder, dtype)


@contextmanager
def _saying_which(path: Path) -> Iterator[None]:
    """Turn what loading raises into BadModel that names the folder."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError, ValueError, TypeError, KeyError) as problem:
        raise BadModel(f"{path} does not load: {problem}", file=str(path)) from problem


def _check_complete(path: Path, config_name: str, has_weights: bool) -> None:
    """Raise MissingWeights naming the file that is not there."""
    missing = None if (path / config_name).is_file() else path / config_name
    if missing is None and has_weights and not any(path.glob("*.safetensors")):
        missing = path / "diffusion_pytorch_model.safetensors"
    if missing is not None:
        raise MissingWeights(
            f"{missing} is missing",
            file=str(missing),
            hint=f"copy the whole model folder again; {INDEX} names this part",
        )


def _save_folder(part: Any, folder: Path, key: str) -> dict[str, list[str]]:
    """The part's entry in the index; nothing is written for None."""
    if part is None:
        return {}
    part.save_pretrained(folder / key)
    return {key: _class_of(part)}


def _class_of(part: Any) -> list[str]:
    kind = part.kind if isinstance(part, LateEncoder) else type(part)
    module = "diffusers" if kind.__module__.startswith("diffusers.") else kind.__module__
    return [module, kind.__name__]


def _class_named(entry: Any, folder: Path) -> Any:
    """The class an index entry [module, class] names; raises BadModel for one we do not build."""
    try:
        module, name = entry
        if module != "diffusers" and not module.startswith("facestudio."):
            raise ImportError(f"{module} is neither diffusers nor this package")
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, TypeError, ValueError) as problem:
        message = f"{folder / INDEX} asks for {entry!r}, which cannot be built: {problem}"
        raise BadModel(message, file=str(folder / INDEX)) from problem
