"""What `facestudio train unet` is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from facestudio.training.loop import LoopSettings
from facestudio.training.trainable import Trainable
from facestudio.training.wishes import WishSettings


@dataclass(frozen=True)
class UNetSettings:
    """diffusers' UNet2DConditionModel; names as there."""

    block_out_channels: tuple[int, ...] = (64, 128, 256)
    layers_per_block: int = 2
    heads: int = 8
    norm_num_groups: int = 32


@dataclass(frozen=True)
class GuidanceSettings:
    """The shared linear layer's output: `n_tokens` cells of `width` numbers."""

    n_tokens: int = 8
    width: int = 256


@dataclass(frozen=True)
class FaceMapSettings:
    """FaceMapper: `features` numbers a cell; 0 for a model that has no face map."""

    features: int = 0
    width: int = 64
    drop: float = 0.1  # share of samples that keep their identity vector but lose the map
    noise: float = 0.1  # standard deviation of what is added to the latents it sees


@dataclass(frozen=True)
class IdentityLossSettings:
    """A loss on who is in the picture predicted at low noise; no teacher, no such loss."""

    teacher: Path | None = None  # a recogniser's ONNX file, fed with -1...1
    weight: float = 0.1
    below: int = 500  # of 1,000 steps of noise
    samples: int = 8  # of a micro-batch at most


@dataclass(frozen=True)
class CriticSettings:
    """A critic of the clean latents that predictions mean; 0: none.

    It makes predictions at high noise look like latents and not like a mean of many, so that few
    steps suffice. It pulls at a prediction `weight` times as hard as the rebuilding loss does.
    """

    weight: float = 0.0
    width: int = 64
    noise: float = 0.3  # standard deviation at most of what is added to the latents it judges
    pace: float = 1.0  # its learning rate over the loop's
    alone: int = 0  # batches that it learns on before the first step, where `init` is given


@dataclass(frozen=True)
class NoiseSettings:
    """diffusers' DDPMScheduler: the noise that training adds."""

    beta_start: float = 0.00085
    beta_end: float = 0.012
    beta_schedule: str = "scaled_linear"
    prediction_type: str = "v_prediction"
    rescale_betas_zero_snr: bool = True


@dataclass(frozen=True)
class Settings:
    """All that `facestudio train unet` needs."""

    data: tuple[Path, ...]  # prepared sets
    loop: LoopSettings
    unet: UNetSettings = field(default_factory=UNetSettings)
    guidance: GuidanceSettings = field(default_factory=GuidanceSettings)
    face_map: FaceMapSettings = field(default_factory=FaceMapSettings)
    identity_loss: IdentityLossSettings = field(default_factory=IdentityLossSettings)
    critic: CriticSettings = field(default_factory=CriticSettings)
    noise: NoiseSettings = field(default_factory=NoiseSettings)
    wishes: WishSettings = field(default_factory=WishSettings)
    drop_style: float = 0.64
    drop_face: float = 0.1
    same_photo: float = 0.5  # share of samples whose identity is of the very photo that is drawn,
    # or that a drawing was made from, and not of another photo of the person
    whole_style: float = 0.0  # share of styles that are of the whole picture, face and all, as
    # words are by a prior trained with `whole`; the others are of the picture with its face hidden
    compose: float = 0.1  # share of batches with several people on one canvas
    source_weights: dict[str, float] = field(default_factory=dict)  # 1 where not named
    init: Path | None = None  # export of an earlier run to start from
    trainable: Trainable = "all"  # or "adapter": guidance layer, cross-attention keys and values
    gradient_checkpointing: bool = False  # less memory, a third more time
    held_out: tuple[str, ...] = ("test",)  # splits that are not trained on
    codec: Path | None = None  # for a face map, and to look at samples on the way
