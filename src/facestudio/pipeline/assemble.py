"""Trained parts become a model folder: what `facestudio init` does."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from diffusers import EulerAncestralDiscreteScheduler, UNet2DConditionModel

from facestudio.codec.patch import PatchCodec
from facestudio.encoders.image_towers import ImageTowers
from facestudio.encoders.looks import LookReader
from facestudio.encoders.text_towers import TextTowers
from facestudio.errors import MissingWeights
from facestudio.faces.detect import DlibDetector
from facestudio.faces.load import add_face_map, load_identity_encoder
from facestudio.guidance.hybrid import HybridGuidance
from facestudio.guidance.mapped_unet import MappedUNet
from facestudio.pipeline.parts import PipelineConfig
from facestudio.pipeline.pipeline import FaceStudioPipeline
from facestudio.prior.prior import EmbeddingPrior


@dataclass(frozen=True)
class AssembleSettings:
    """Where the trained parts lie; read from a TOML file.

    Each folder is the `export` of a training: `generator` holds unet, guidance, scheduler and,
    if it was trained with one, the face map.
    """

    generator: Path
    codec: Path
    towers: Path
    identity: str  # an encoder's folder, or "dlib"
    prior: Path | None = None
    look_reader: Path | None = None
    words: bool = True  # false: a model that takes no words, without text towers and prior
    half: bool = True  # store weights as fp16
    config: PipelineConfig = field(default_factory=PipelineConfig)


def assemble(settings: AssembleSettings, folder: Path) -> FaceStudioPipeline:
    """The pipeline of the trained parts, written to `folder` and read back from there.

    Raises MissingWeights naming the folder of a part that is absent, BadModel where parts do not
    fit together.
    """
    reader = settings.look_reader
    places = (settings.generator, settings.codec, settings.towers, settings.prior, reader)
    for place in places:
        if place is not None and not place.is_dir():
            raise MissingWeights(
                f"{place} is missing", file=place, hint="train that part first (facestudio train)"
            )
    generator, words = settings.generator, settings.words
    encoder = load_identity_encoder(settings.identity)
    unet_class = UNet2DConditionModel
    if (generator / "face_map").is_dir():
        encoder, unet_class = add_face_map(encoder, generator / "face_map"), MappedUNet
    pipe = FaceStudioPipeline(
        unet=unet_class.from_pretrained(generator / "unet"),
        codec=PatchCodec.from_pretrained(settings.codec),
        scheduler=EulerAncestralDiscreteScheduler.from_pretrained(generator / "scheduler"),
        guidance=HybridGuidance.from_pretrained(generator / "guidance"),
        image_towers=ImageTowers.load(settings.towers),
        identity_encoder=encoder,
        detector=DlibDetector(),
        text_towers=TextTowers.load(settings.towers) if words else None,
        prior=EmbeddingPrior.from_pretrained(settings.prior) if words and settings.prior else None,
        config=settings.config,
        look_reader=LookReader.from_pretrained(reader) if reader else None,
    )
    pipe.save_pretrained(folder, half=settings.half)
    return FaceStudioPipeline.from_pretrained(folder)
