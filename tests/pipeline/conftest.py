"""A whole pipeline of tiny seeded parts: 32 px, milliseconds a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    DDPMScheduler,
    EulerAncestralDiscreteScheduler,
    UNet2DConditionModel,
)
from PIL import Image

from facestudio.codec.kl import KLCodec
from facestudio.codec.patch import PatchCodec
from facestudio.encoders.image_towers import ImageTowers
from facestudio.encoders.looks import LookReader
from facestudio.encoders.text_towers import TextTowers
from facestudio.encoders.wordpiece import build_vocabulary, make_tokenizer
from facestudio.faces.calibration import Calibration
from facestudio.faces.detect import Face
from facestudio.faces.embed import NetworkEncoder
from facestudio.faces.encoder_folder import NetworkConfig, save_network
from facestudio.faces.identity import Identity
from facestudio.faces.network import IdentityNetwork
from facestudio.guidance.hybrid import HybridGuidance
from facestudio.guidance.mapped_unet import MappedUNet
from facestudio.pipeline.parts import PipelineConfig
from facestudio.pipeline.pipeline import FaceStudioPipeline
from facestudio.prior.prior import EmbeddingPrior

PX, CHANNELS, WIDTH, STYLE_DIM = 32, 6, 16, 8
VIT = {"kind": "vit", "input_px": 16, "output_dim": STYLE_DIM, "width": 8, "layers": [1]}
CAPTIONS = ["a man smiling in a hat", "a woman in an ink drawing", "words we do not want"]
ENCODER = NetworkConfig(widths=(4, 4, 4), depths=(1, 1, 1), pooled_dim=6, grid_dim=1)


class TinyDetector:
    """Sees faces at the fractions it is told, whatever the picture shows."""

    name = "tiny"
    licence = "CC0"

    def __init__(self, *centres: float) -> None:
        self.centres = centres
        self.seen: list[Image.Image] = []

    def detect(self, image: Image.Image) -> list[Face]:
        self.seen.append(image)
        return [make_face(x * image.width, image.height / 2, image.width / 4) for x in self.centres]


def make_face(x: float, y: float, size: float) -> Face:
    """A face of `size` pixels around (x, y)."""
    points = [(-0.2, -0.1), (0.2, -0.1), (0, 0.1), (-0.15, 0.3), (0.15, 0.3)]
    box = (x - size / 2, y - size / 2, x + size / 2, y + size / 2)
    return Face(box, np.float32([(x + a * size, y + b * size) for a, b in points]), 1.0)


def make_picture(seed: int = 0, width: int = PX, height: int = PX) -> Image.Image:
    """A picture of smooth random colours."""
    small = np.random.default_rng(seed).integers(0, 255, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def assert_alike(one: object, two: object) -> None:
    """Two pictures, of whole numbers or in 0...1, that differ by one level of 255 at most.

    So much do models of the same weights that were loaded apart: sums are rounded by where numbers
    happen to lie in memory.
    """
    first, second = (np.asarray(picture) for picture in (one, two))
    level = 1 if first.dtype == np.uint8 else 1 / 255
    np.testing.assert_allclose(first.astype(float), second.astype(float), rtol=0, atol=level)


def make_unet(seed: int = 0, map_features: int = 0) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    unet = (MappedUNet if map_features else UNet2DConditionModel)(
        sample_size=PX // 4,
        in_channels=CHANNELS + map_features,
        out_channels=CHANNELS,
        block_out_channels=(8, 16),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    if isinstance(unet, MappedUNet):
        unet.take_schedule(DDPMScheduler(1000).alphas_cumprod, "epsilon")
        torch.nn.init.normal_(unet.first_guess.weight, std=0.1)
    return unet


def make_text_towers() -> TextTowers:
    tokenizer = make_tokenizer(build_vocabulary(CAPTIONS, min_count=1), 12)
    tower = {"output_dim": STYLE_DIM, "width": 8, "layers": 1, "heads": 2, "context_length": 12}
    return TextTowers.from_config([tower], tokenizer)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory) -> NetworkEncoder:
    """A network encoder with random weights whose strangers are calibrated to 0."""
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(3)
    network = IdentityNetwork(**vars(ENCODER)).eval()
    calibration = Calibration(np.zeros(ENCODER.pooled_dim, np.float32), strangers=0.0)
    labels = {"name": "tiny", "version": "1", "licence": "CC0"}
    save_network(network, ENCODER, folder, **labels, calibration=calibration)
    return NetworkEncoder(folder)


def make_pipe(encoder: NetworkEncoder) -> FaceStudioPipeline:
    unet = make_unet()
    towers = ImageTowers.from_config([VIT | {"heads": 2, "patch": 8}])
    pipe = FaceStudioPipeline(
        unet=unet,
        codec=PatchCodec(factor=4, channels=CHANNELS, widths=(8, 8), blocks=1),
        scheduler=EulerAncestralDiscreteScheduler(num_train_timesteps=100),
        guidance=HybridGuidance(STYLE_DIM, encoder.dimension, 3, WIDTH),
        image_towers=towers,
        identity_encoder=encoder,
        detector=TinyDetector(0.5),
        text_towers=make_text_towers(),
        prior=EmbeddingPrior(STYLE_DIM, [STYLE_DIM], width=8, layers=1, heads=2),
        config=PipelineConfig("tiny", num_inference_steps=3, prior_steps=2),
    )
    torch.nn.init.normal_(pipe.guidance.join.weight)  # so that guidance is plain to see
    return pipe


@pytest.fixture
def pipe(encoder) -> FaceStudioPipeline:
    return make_pipe(encoder)


def make_look_reader() -> LookReader:
    """A reader of two looks that takes every picture for the second."""
    torch.manual_seed(7)
    reader = LookReader((("photo", ("photo",)), ("paint", ("oil",))), STYLE_DIM, pull=0.5).eval()
    torch.nn.init.zeros_(reader.look.weight)
    reader.look.bias.data = torch.tensor([-30.0, 30.0, -30.0])
    reader.means.copy_(torch.randn(2, STYLE_DIM))
    return reader


def make_identity(encoder: NetworkEncoder, seed: int) -> Identity:
    """Somebody whose photos nobody has."""
    vectors = np.random.default_rng(seed).standard_normal((1, encoder.dimension))
    return Identity.from_photos(vectors.astype(np.float32), encoder)


@pytest.fixture
def anna(encoder) -> Identity:
    return make_identity(encoder, 1)


@pytest.fixture
def ben(encoder) -> Identity:
    return make_identity(encoder, 2)


@pytest.fixture
def picture():
    """picture(seed, width, height): a picture of smooth random colours."""
    return make_picture


@pytest.fixture
def seeing():
    """seeing(0.25, 0.75): a detector that sees faces at these fractions of the width."""
    return TinyDetector


@pytest.fixture
def unet():
    return make_unet().eval()


def make_kl_codec(channels: int) -> KLCodec:
    """A tiny untrained autoencoder of Stable Diffusion's kind, the same each time."""
    torch.manual_seed(0)
    vae = AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 3,
        up_block_types=["UpDecoderBlock2D"] * 3,
        block_out_channels=[4, 4, 4],
        norm_num_groups=2,
        latent_channels=channels,
    )
    return KLCodec(vae).eval()
