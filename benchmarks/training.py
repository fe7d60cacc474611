"""Samples a second in training: from prepared shards, against all encoded on the fly.

    python benchmarks/training.py [--shapes mini full] [--rounds 3] [--batch-mini 32]

Both loops train the same U-Net by the same optimizer and loss, step about in one run; they differ
in where a batch comes from. On the fly, as the peers' published loops do it, every picture is
decoded, its face found and embedded, its face hidden for the towers, and the codec run. Each figure
is the median over the rounds; `share` says where the time of the on-the-fly loop goes, and
`ratio_faces_known` is the ratio had the faces been found before.

Mini trains all its weights, the full shape its adapter, as the peers do, in fp32 and without
gradient checkpointing. Mini's parts are the shipped model's, the full shape's random. The pictures
are cuts of one public-domain photo, as large as the shape draws them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from skimage.data import astronaut
from torch import Tensor, nn

from facestudio.codec.kl import KLCodec
from facestudio.codec.patch import PatchCodec
from facestudio.data.develop import to_pixels
from facestudio.data.shards import ARRAYS, Sample, write_json, write_shard
from facestudio.encoders.image_towers import ImageTowers
from facestudio.encoders.presets import PAPER_IMAGE_TOWERS
from facestudio.errors import NoFace
from facestudio.faces.align import align_face, hide_face
from facestudio.faces.detect import DlibDetector, find_face
from facestudio.faces.embed import DlibEncoder, IdentityEncoder
from facestudio.faces.load import load_identity_encoder
from facestudio.faces.mapped import MappedEncoder
from facestudio.guidance.hybrid import HybridGuidance
from facestudio.guidance.mapped_unet import MappedUNet
from facestudio.images import decode_picture
from facestudio.pipeline.base import CONFIG
from facestudio.pipeline.load import find_model
from facestudio.training.generator import Generator
from facestudio.training.loop import LoopSettings, Trainer
from facestudio.training.trainable import choose_trainable
from facestudio.training.unet import Settings, UNetTask

PICTURES = 64  # of the made set
DETECT_PX = 320  # the longer side at which a training picture is searched, as mini's config has it


@dataclass
class Encoders:
    """What a training picture goes through."""

    codec: PatchCodec | KLCodec
    identity: IdentityEncoder
    towers: ImageTowers
    detector: DlibDetector = field(default_factory=lambda: DlibDetector(((DETECT_PX, 0.0),)))


@dataclass
class Shape:
    """One size of model: its U-Net's task over a prepared set, and the set's pictures."""

    task: UNetTask
    encoders: Encoders
    pictures: list[bytes]
    loop: LoopSettings


class OnTheFly:
    """The task's batches made from pictures at every step; the rest is the task's own."""

    def __init__(self, shape: Shape) -> None:
        self.task, self.encoders, self.pictures = shape.task, shape.encoders, shape.pictures
        self.model = self.task.model
        self.seconds: dict[str, float] = defaultdict(float)

    def batch(self, rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        """The prepared batch with its latents and vectors computed anew."""
        batch = self.task.batch(rng, size)
        chosen = rng.integers(0, len(self.pictures), len(batch["latents"]))
        return batch | self.encode([self.pictures[i] for i in chosen])

    @torch.no_grad()
    def encode(self, pictures: list[bytes]) -> dict[str, Tensor]:
        """Latents, identity and style of encoded pictures, each stage timed."""
        with self.timed("decode"):
            images = [decode_picture(picture, "a picture") for picture in pictures]
        with self.timed("find faces"):
            eyes = [self.find(image) for image in images]
        with self.timed("embed faces"):
            crops = [align_face(i, e) for i, e in zip(images, eyes, strict=True)]
            identity = torch.from_numpy(self.encoders.identity.embed(np.stack(crops)))
        with self.timed("towers"):
            hidden = [hide_face(i, e, 1.0) for i, e in zip(images, eyes, strict=True)]
            style = self.encoders.towers(to_pixels(hidden))
        with self.timed("codec"):
            latents = self.encoders.codec.encode(to_pixels(images))
        return {"latents": latents, "identity": identity[:, None], "style": style[:, None]}

    def find(self, image: Image.Image) -> np.ndarray:
        """The eyes of the largest face; where dlib sees none, where a portrait has them."""
        try:
            found = find_face(image, self.encoders.detector, largest=True, retry=False)
        except NoFace:
            return np.array([[0.375, 0.475], [0.625, 0.475]]) * image.width
        return np.asarray(found.eyes)

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """The task's."""
        return self.task.loss(model, batch)

    def samples(self, model: nn.Module) -> None:
        """Nothing is drawn."""

    def export(self, model: nn.Module, folder: Path) -> None:
        """Nothing is kept."""

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the block's time to the stage's."""
        started = time.perf_counter()
        yield
        self.seconds[stage] += time.perf_counter() - started


def main() -> None:
    """Measure the shapes asked for; print and write the figures."""
    words = read_words()
    result: dict[str, Any] = {"machine": describe_machine()}
    makers = {"mini": make_mini, "full": make_full}
    for name in words.shapes:
        with tempfile.TemporaryDirectory() as scratch:
            measured = measure(makers[name](words, Path(scratch)), words.rounds)
        result |= {f"{name}_ratio": measured["ratio"], name: measured}
        print(json.dumps({name: measured}, indent=2), flush=True)
    words.out.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(words.out.read_text()) if words.out.is_file() else {}
    words.out.write_text(json.dumps(kept | result, indent=2) + "\n")
    print(words.out)


def read_words() -> argparse.Namespace:
    """What to measure with."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shapes", nargs="+", choices=["mini", "full"], default=["mini", "full"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-mini", type=int, default=32)
    parser.add_argument("--batch-full", type=int, default=2)
    parser.add_argument("--latents-full", type=int, default=64, help="positions a side")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/training.json"))
    return parser.parse_args()


def describe_machine() -> dict[str, Any]:
    """What the figures are of."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def measure(shape: Shape, rounds: int) -> dict[str, Any]:
    """Samples a second of both loops, step about on the same model, after a step of warming."""
    trainer = Trainer(shape.task, shape.loop, {})
    fly = OnTheFly(shape)
    seconds: dict[str, list[float]] = {"prepared": [], "on_the_fly": []}
    stages: list[dict[str, float]] = []
    for turn in range(rounds + 1):
        for name, task in (("prepared", shape.task), ("on_the_fly", fly)):
            trainer.task = task
            fly.seconds.clear()
            started = time.perf_counter()
            trainer.advance()
            if turn:
                seconds[name].append(time.perf_counter() - started)
        if turn:
            stages.append(dict(fly.seconds))
    return summarise(shape.loop.batch, seconds, stages)


def summarise(
    batch: int, seconds: dict[str, list[float]], stages: list[dict[str, float]]
) -> dict[str, Any]:
    """Medians, their ratio, and where the on-the-fly loop's time goes."""
    prepared, fly = (statistics.median(seconds[name]) for name in ("prepared", "on_the_fly"))
    spent = {name: statistics.median(s[name] for s in stages) for name in stages[0]}
    return {
        "batch": batch,
        "prepared_samples_per_second": batch / prepared,
        "on_the_fly_samples_per_second": batch / fly,
        "ratio": fly / prepared,
        "ratio_faces_known": (fly - spent["find faces"]) / prepared,
        "seconds": seconds,
        "share": {name: value / fly for name, value in spent.items()},
    }


def make_mini(words: argparse.Namespace, scratch: Path) -> Shape:
    """Mini's U-Net and parts; the pictures are the set's, where a set is given."""
    shipped = find_model("mini")
    identity = load_identity_encoder(shipped)
    mapper = identity.mapper if isinstance(identity, MappedEncoder) else None
    encoders = Encoders(
        codec=PatchCodec.from_pretrained(shipped / "codec"),
        identity=identity.inner if isinstance(identity, MappedEncoder) else identity,
        towers=ImageTowers.load(shipped),
    )
    kind = UNet2DConditionModel if mapper is None else MappedUNet
    unet = kind.from_pretrained(shipped / "unet", torch_dtype=torch.float32)
    guidance = HybridGuidance.from_pretrained(shipped / "guidance", torch_dtype=torch.float32)
    loop = LoopSettings(out=scratch, batch=words.batch_mini)
    return make_shape(Generator(unet, guidance, mapper), encoders, loop, scratch)


def make_full(words: argparse.Namespace, scratch: Path) -> Shape:
    """Stable Diffusion 1.5 and the paper's towers in their true shapes, at random."""
    unet, vae = (
        kind.from_config(kind.load_config(CONFIG / part))
        for kind, part in ((UNet2DConditionModel, "unet"), (AutoencoderKL, "vae"))
    )
    encoders = Encoders(
        codec=KLCodec(vae.eval()),
        identity=DlibEncoder(),
        towers=ImageTowers.from_config(PAPER_IMAGE_TOWERS).eval(),
    )
    guidance = HybridGuidance(
        encoders.towers.embed_dim, encoders.identity.dimension, 4, unet.config.cross_attention_dim
    )
    choose_trainable(unet, "adapter", checkpointing=False)
    loop = LoopSettings(out=scratch, batch=words.batch_full)
    unet.register_to_config(sample_size=words.latents_full)
    return make_shape(Generator(unet, guidance), encoders, loop, scratch)


def make_shape(model: Generator, encoders: Encoders, loop: LoopSettings, scratch: Path) -> Shape:
    """The task over a prepared set of one person's photo, cut in many ways."""
    guidance, cells = model.guidance, model.unet.config.sample_size
    px = cells * encoders.codec.factor
    pictures = list(draw_pictures(px))
    channels = encoders.codec.channels
    rng = np.random.default_rng(0)
    samples = [
        Sample(
            {
                "latents": rng.standard_normal((channels, cells, cells)),
                "latents_flipped": rng.standard_normal((channels, cells, cells)),
                "identity": rng.standard_normal(guidance.identity_dim),
                "style": rng.standard_normal(guidance.style_dim),
                "mask": np.zeros((cells, cells)),
                "eyes": np.zeros((2, 2)),
                "box": np.zeros(4),
            },
            picture,
            {"key": str(i), "source": "made", "captions": [], "has_face": True},
        )
        for i, picture in enumerate(pictures)
    ]
    assert samples[0].arrays.keys() <= ARRAYS.keys()
    write_json(scratch / "dataset.json", {"format": 1})
    write_shard(scratch, "000-00000", samples)
    task = UNetTask(Settings((scratch,), loop, compose=0.0))
    task.model = model
    return Shape(task, encoders, pictures, loop)


def draw_pictures(px: int) -> Iterator[bytes]:
    """The astronaut's portrait (public domain), cut a little differently each time, as JPEG."""
    whole = Image.fromarray(astronaut())
    rng = np.random.default_rng(0)
    for _ in range(PICTURES):
        left, top, side = 80 + rng.integers(0, 20), rng.integers(0, 20), 260 + rng.integers(0, 40)
        cut = whole.resize((px, px), box=(left, top, left + side, top + side))
        buffer = io.BytesIO()
        cut.save(buffer, "jpeg", quality=90)
        yield buffer.getvalue()


if __name__ == "__main__":
    main()
