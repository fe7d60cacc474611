"""Public weights become a full-size model folder: what `facestudio init sd15` does.

Either the paper's way, with a fresh guidance layer that is to be trained, or with public adapters
(IP-Adapter for style, IP-Adapter-FaceID for the face) that draw at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from facestudio.codec.kl import KLCodec
from facestudio.encoders.clip_pairs import load_clip_pair
from facestudio.encoders.image_towers import ImageTowers
from facestudio.encoders.stable_diffusion import IMAGE_ENCODER, PictureVector
from facestudio.encoders.text_towers import TextTowers, load_tokenizer
from facestudio.errors import BadModel, BadOption
from facestudio.faces.embed import IdentityEncoder
from facestudio.faces.load import load_identity_encoder
from facestudio.faces.packs import require_pack
from facestudio.guidance.adapter import add_lora
from facestudio.guidance.hybrid import HybridGuidance
from facestudio.pipeline.adapter_files import (
    AdapterFile,
    Kind,
    build_guidance,
    lora_of,
    read_adapter,
)
from facestudio.pipeline.base import CONFIG, Base, load_base
from facestudio.pipeline.hub import HUB_NAME, fetch_folder, find_file, find_folder
from facestudio.pipeline.load import choose_detector, load_part
from facestudio.pipeline.lora import add_lora_file, parse_lora
from facestudio.pipeline.origins import UNKNOWN_LICENCE, Origin, write_origins
from facestudio.pipeline.parts import PipelineConfig
from facestudio.pipeline.pipeline import FaceStudioPipeline
from facestudio.pipeline.precision import DTYPES
from facestudio.prior.prior import EmbeddingPrior

AdapterName = Literal["ip-adapter", "ip-adapter-faceid", "both"]
HalfName = Literal["float16", "bfloat16"]

VIT_L, RN101, VIT_B = (
    "openai/clip-vit-large-patch14",
    "timm/resnet101_clip.openai",
    "openai/clip-vit-base-patch32",
)
STYLE_HUB, FACE_HUB = "h94/IP-Adapter", "h94/IP-Adapter-FaceID"
ENCODER_FILES = ("models/image_encoder/config.json", "models/image_encoder/model.safetensors")
# the adapter's file, in the order of preference, and what else of the hub's folder it needs
ADAPTER_FILES: dict[Kind, tuple[Sequence[str], Sequence[str]]] = {
    "style": (("models/ip-adapter_sd15.safetensors", "models/ip-adapter_sd15.bin"), ENCODER_FILES),
    "face": (("ip-adapter-faceid_sd15.bin", "ip-adapter-faceid_sd15.safetensors"), ()),
}
LICENCES = {
    VIT_L: "MIT",
    RN101: "MIT",
    VIT_B: "MIT",
    STYLE_HUB: "Apache-2.0",
    FACE_HUB: "non-commercial research (InsightFace's terms)",
}
TOKENIZER_FILES = ("*token*", "vocab.json", "merges.txt")
CLIP_FILES = ("config.json", "preprocessor_config.json", "model.safetensors", *TOKENIZER_FILES)
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")


@dataclass(frozen=True)
class Sd15Settings:
    """What a full-size model is made of; names are paths or owner/name on the hub.

    towers: the paper's three, in its order. adapter: none for the paper's guidance layer, fresh.
    prior: a trained one's folder; without it the model takes no words until one is trained.
    style_adapter, face_adapter: h94's repositories, folders like them, or single files.
    image_encoder: for a style adapter given as a file, the folder of its CLIP encoder.
    tokenizer: for a single-file base with adapters. loras: FILE or FILE:WEIGHT.
    """

    base: str
    adapter: AdapterName | None = None
    towers: tuple[str, ...] = (VIT_L, RN101, VIT_B)
    identity: str | None = None  # insightface:buffalo_l where a face is read by it, else dlib
    prior: Path | None = None
    style_adapter: str = STYLE_HUB
    face_adapter: str = FACE_HUB
    image_encoder: Path | None = None
    tokenizer: str = VIT_L
    loras: tuple[str, ...] = ()
    n_tokens: int = 4
    name: str = "sd15"
    half: bool = False  # store weights in 16 bits,
    half_type: HalfName = "float16"  # of this kind; bfloat16 starts sooner on a processor
    offline: bool = False
    seed: int = 0  # of the fresh guidance layer


def assemble_sd15(
    settings: Sd15Settings, folder: Path, config: Path = CONFIG
) -> FaceStudioPipeline:
    """The pipeline of the parts named, written to `folder`.

    config: the sizes of a single-file base. Raises MissingWeights, BadModel, BadOption.
    """
    _check(settings)
    dtype = DTYPES[settings.half_type] if settings.half else torch.float32
    encoder = _load_encoder(settings)
    base = load_base(
        settings.base,
        words=settings.adapter is not None,
        tokenizer=_find_tokenizer(settings),
        dtype=dtype,
        offline=settings.offline,
        config=config,
    )
    origins = {"base": Origin(base.origin, base.licence)}
    for lora in settings.loras:
        path, weight = parse_lora(lora)
        add_lora_file(base, path, weight)
        origins[f"lora {path.name}"] = Origin(f"{path.name}, weight {weight:g}", UNKNOWN_LICENCE)
    make = _make_guided if settings.adapter is None else _make_adapted
    parts, more = make(settings, base, encoder)
    pipe = FaceStudioPipeline(
        unet=base.unet,
        codec=KLCodec(base.vae),
        scheduler=base.scheduler,
        identity_encoder=encoder,
        detector=choose_detector(encoder),
        **parts,
    )
    pipe.save_pretrained(folder, half=settings.half and dtype)
    origins |= more | {"identity encoder": Origin(encoder.name, encoder.licence)}
    write_origins(folder, origins, settings.name)
    return pipe


def _check(settings: Sd15Settings) -> None:
    if settings.half_type not in get_args(HalfName):
        raise BadOption(f"half_type={settings.half_type!r}: give {', '.join(get_args(HalfName))}")
    allowed = get_args(AdapterName)
    if settings.adapter is not None and settings.adapter not in allowed:
        raise BadOption(f"adapter={settings.adapter!r}: give {', '.join(allowed)}")
    if not settings.towers:
        raise BadOption("towers: give one at least; the paper has three")


def _load_encoder(settings: Sd15Settings) -> IdentityEncoder:
    """The encoder asked for, else ArcFace, except where no face goes into the model."""
    usual = "dlib" if settings.adapter == "ip-adapter" else "insightface:buffalo_l"
    name = settings.identity or usual
    if settings.offline:
        require_pack(name)
    return load_identity_encoder(name)


def _find_tokenizer(settings: Sd15Settings) -> Path | None:
    """The folder of the tokenizer that a single-file base lacks."""
    if settings.adapter is None or not Path(settings.base).is_file():
        return None
    return find_folder(
        settings.tokenizer,
        "tokenizer",
        TOKENIZER_FILES,
        marker="tokenizer_config.json",
        offline=settings.offline,
    )


Made = tuple[dict[str, Any], dict[str, Origin]]


def _make_guided(settings: Sd15Settings, base: Base, encoder: IdentityEncoder) -> Made:
    """The paper's towers and a fresh guidance layer, and where they come from."""
    places = [_find_tower(name, settings.offline) for name in settings.towers]
    pairs = [load_clip_pair(place) for place in places]
    image_towers = ImageTowers([image for image, _ in pairs])
    tokenizer = load_tokenizer(next((place for place in places if place.is_dir()), places[0]))
    torch.manual_seed(settings.seed)
    guidance = HybridGuidance(
        image_towers.embed_dim,
        encoder.dimension,
        settings.n_tokens,
        base.unet.config.cross_attention_dim,
    )
    origins = {f"tower {i}": _origin(name) for i, name in enumerate(settings.towers)}
    origins["guidance"] = Origin("fresh, to be trained", "yours")
    parts = {
        "guidance": guidance,
        "image_towers": image_towers,
        "text_towers": TextTowers([text for _, text in pairs], tokenizer),
        "prior": _load_prior(settings.prior),
        "config": PipelineConfig(settings.name),
    }
    return parts, origins


def _find_tower(name: str, offline: bool) -> Path:
    """transformers' folder, or open_clip's file where there is only that."""
    if Path(name).is_file():
        return Path(name)
    is_hub = not Path(name).exists() and HUB_NAME.fullmatch(name)
    patterns = (*CLIP_FILES, *OPEN_CLIP_FILES[:1])
    folder = fetch_folder(name, patterns, what="CLIP tower", offline=offline) if is_hub else name
    if (Path(folder) / "config.json").is_file():
        return Path(folder)
    return find_file(str(folder), "CLIP tower", OPEN_CLIP_FILES)


def _load_prior(folder: Path | None) -> EmbeddingPrior | None:
    if folder is None:
        return None
    index = {folder.name: [EmbeddingPrior.__module__, EmbeddingPrior.__name__]}
    prior: EmbeddingPrior = load_part(folder.parent, folder.name, index, torch.float32)
    return prior


def _make_adapted(settings: Sd15Settings, base: Base, _: IdentityEncoder) -> Made:
    """The public adapters' guidance, their LoRA added to the U-Net, and where they come from."""
    files: list[AdapterFile] = []
    origins: dict[str, Origin] = {}
    towers: PictureVector | None = None
    if settings.adapter != "ip-adapter-faceid":
        style = _find_adapter(settings.style_adapter, "style", settings.offline)
        towers = PictureVector.read(settings.image_encoder or style.path.parent / IMAGE_ENCODER)
        files.append(style)
        origins["style adapter"] = _origin(settings.style_adapter)
    if settings.adapter != "ip-adapter":
        files.append(_find_adapter(settings.face_adapter, "face", settings.offline))
        origins["face adapter"] = _origin(settings.face_adapter)
    guidance = build_guidance(files, base.unet)
    for file in files:
        add_lora(base.unet, lora_of(file, base.unet))
    parts = {
        "guidance": guidance,
        "image_towers": towers,
        "text_towers": base.words,
        "config": PipelineConfig(settings.name, hide_margin=0.0, guidance_scale=7.5),
    }
    return parts, origins


def _find_adapter(name: str, kind: Kind, offline: bool) -> AdapterFile:
    files, beside = ADAPTER_FILES[kind]
    place = find_file(name, f"{kind} adapter", files, beside=beside, offline=offline)
    adapter = read_adapter(place)
    if adapter.kind != kind:
        message = f"{adapter.path} is a {adapter.kind} adapter; a {kind} adapter is wanted"
        raise BadModel(message, file=adapter.path)
    return adapter


def _origin(name: str) -> Origin:
    """A hub's name as it is; of a path on this machine only the last part."""
    source = Path(name).name if Path(name).exists() else name
    return Origin(source, LICENCES.get(source, UNKNOWN_LICENCE))
