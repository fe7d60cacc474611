"""Samples a second in training: from prepared shards, against a loop after the peers'.

    python -m benchmarks.training [--shapes mini full] [--rounds 3] [--precision bf16]

Both train the same weights of the same U-Net by AdamW on the same loss, with the same batch and
precision, step about in one run. The peers' loop is that of IP-Adapter's tutorial_train.py and
diffusers' examples: frozen encoders in the loop's precision, everything encoded at every step, the
U-Net under autocast, then backward and step; neither average nor clipping, which ours has. Every
picture is decoded, its face found and embedded, its face hidden for the towers, and the codec run;
where the identity comes of another photo (`same_photo`), that one is read as well.

Each figure is the median over the rounds. `ratio`: theirs to ours. `ratio_encoders_alone`: were
their step as fast as ours. `ratio_faces_known`: had the faces been found before. `share` says where
the time of their step goes.

Mini trains all its weights, the full shape its adapter, as the peers do, without gradient
checkpointing. Mini's parts are the shipped model's, the full shape's random. The pictures are cuts
of one public-domain photo, as large as the shape draws them.
"""

from __future__ import annotations

import argparse
import io
import json
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
from torch import Tensor

from benchmarks.machine import describe_machine
from facestudio.codec.kl import KLCodec
from facestudio.codec.patch import PatchCodec
from facestudio.data.develop import to_pixels
from facestudio.data.shards import ARRAYS, Sample, write_json, write_shard
from facestudio.encoders.image_towers import ImageTowers
from facestudio.encoders.presets import PAPER_IMAGE_TOWERS
from facestudio.errors import NoFace
from facestudio.faces.align import align_face, hide_face, portrait_eyes
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
ENCODING = ("decode", "find faces", "embed faces", "towers", "codec")
DETECT_PX = 320  # the longer side at which a training picture is searched, as mini's config has it


@dataclass
class Encoders:
    """What a training picture goes through."""

    codec: PatchCodec | KLCodec
    identity: IdentityEncoder
    towers: ImageTowers
    detector: DlibDetector = field(default_factory=lambda: DlibDetector(((DETECT_PX, 0.0),)))

    def in_precision(self, precision: str) -> Encoders:
        """The same, with the networks' weights as a loop in that precision holds them."""
        if precision == "bf16":
            self.towers.bfloat16()
            if isinstance(self.codec, KLCodec):
                self.codec.bfloat16()
        return self


@dataclass
class Shape:
    """One size of model: its U-Net's task over a prepared set, and the set's pictures."""

    task: UNetTask
    encoders: Encoders
    pictures: list[bytes]
    loop: LoopSettings


class PeersLoop:
    """A step as published: encode pictures, predict under autocast, go back, step."""

    def __init__(self, shape: Shape) -> None:
        self.task, self.encoders, self.pictures = shape.task, shape.encoders, shape.pictures
        self.loop, self.model = shape.loop, self.task.model
        self.autocast = torch.autocast("cpu", torch.bfloat16, shape.loop.precision == "bf16")
        trained = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, lr=shape.loop.lr, weight_decay=0.01)
        self.seconds: dict[str, float] = defaultdict(float)

    def advance(self, step: int) -> None:
        """Take one step."""
        batch = self.batch(np.random.default_rng(step), self.loop.batch)
        with self.timed("forward"), self.autocast:
            loss, _ = self.task.loss(self.model, batch)
        with self.timed("backward"):
            loss.backward()
        with self.timed("optimizer"):
            self.optimizer.step()
            self.optimizer.zero_grad()

    def batch(self, rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        """The prepared batch with its latents and vectors computed anew."""
        batch = self.task.batch(rng, size)
        chosen = rng.integers(0, len(self.pictures), len(batch["latents"]))
        others = np.flatnonzero(rng.random(len(chosen)) >= self.task.settings.same_photo)
        return batch | self.encode(
            [self.pictures[i] for i in chosen],
            {int(i): self.pictures[-1 - chosen[i]] for i in others},
        )

    @torch.no_grad()
    def encode(self, targets: list[bytes], others: Mapping[int, bytes]) -> dict[str, Tensor]:
        """Latents and style of the targets, identities of their faces; each stage timed.

        others: by their number in the batch, the photos that give the identity instead.
        """
        with self.timed("decode"):
            images = [decode_picture(p, "a picture") for p in [*targets, *others.values()]]
        with self.timed("find faces"):
            eyes = [self.find(image) for image in images]
        shown = len(targets)
        faces = list(range(shown))  # which picture gives each sample's identity
        for place, i in enumerate(others):
            faces[i] = shown + place
        with self.timed("embed faces"):
            crops = np.stack([align_face(images[i], eyes[i]) for i in faces])
            identity = torch.from_numpy(self.encoders.identity.embed(crops))
        with self.timed("towers"):
            seen = zip(images[:shown], eyes[:shown], strict=True)
            style = self.encoders.towers(to_pixels([hide_face(i, e, 1.0) for i, e in seen])).float()
        with self.timed("codec"):
            mapped = self.model.mapper is not None
            latents = self.encoders.codec.encode(to_pixels(images if mapped else images[:shown]))
        made = {"latents": latents[:shown], "identity": identity[:, None], "style": style[:, None]}
        return made | ({"faces": latents[faces]} if mapped else {})

    def find(self, image: Image.Image) -> np.ndarray:
        """The eyes of the largest face; where dlib sees none, where a portrait has them."""
        try:
            found = find_face(image, self.encoders.detector, largest=True, retry=False)
        except NoFace:
            return portrait_eyes(image.width)
        return np.asarray(found.eyes)

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
    parser.add_argument("--precision", choices=["no", "bf16"], default="bf16")
    parser.add_argument("--batch-mini", type=int, default=32)
    parser.add_argument("--batch-full", type=int, default=2)
    parser.add_argument("--latents-full", type=int, default=64, help="positions a side")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/training.json"))
    return parser.parse_args()


def measure(shape: Shape, rounds: int) -> dict[str, Any]:
    """Samples a second of both loops, step about on the same model, after a step of warming."""
    trainer, peers = Trainer(shape.task, shape.loop, {}), PeersLoop(shape)
    seconds: dict[str, list[float]] = {"prepared": [], "on_the_fly": []}
    stages: list[dict[str, float]] = []
    for turn in range(rounds + 1):
        peers.seconds.clear()
        started = time.perf_counter()
        trainer.advance()
        between = time.perf_counter()
        peers.advance(turn)
        ended = time.perf_counter()
        if turn:
            seconds["prepared"].append(between - started)
            seconds["on_the_fly"].append(ended - between)
            stages.append(dict(peers.seconds))
    return summarise(shape, seconds, stages)


def summarise(
    shape: Shape, seconds: dict[str, list[float]], stages: list[dict[str, float]]
) -> dict[str, Any]:
    """Medians, their ratio, and where the on-the-fly loop's time goes."""
    batch = shape.loop.batch
    prepared, fly = (statistics.median(seconds[name]) for name in ("prepared", "on_the_fly"))
    spent = {name: statistics.median(s[name] for s in stages) for name in stages[0]}
    return {
        "batch": batch,
        "precision": shape.loop.precision,
        "prepared_samples_per_second": batch / prepared,
        "on_the_fly_samples_per_second": batch / fly,
        "ratio": fly / prepared,
        "ratio_encoders_alone": 1 + sum(spent[name] for name in ENCODING) / prepared,
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
    loop = LoopSettings(out=scratch, batch=words.batch_mini, precision=words.precision)
    return make_shape(Generator(unet, guidance, mapper), encoders, loop, scratch, same_photo=0.5)


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
    loop = LoopSettings(out=scratch, batch=words.batch_full, precision=words.precision)
    unet.register_to_config(sample_size=words.latents_full)
    return make_shape(Generator(unet, guidance), encoders, loop, scratch, same_photo=1.0)


def make_shape(
    model: Generator, encoders: Encoders, loop: LoopSettings, scratch: Path, same_photo: float
) -> Shape:
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
                "eyes": portrait_eyes(px),
                "box": np.zeros(4),
            },
            picture,
            {"key": str(i), "person": "one", "source": "made", "captions": [], "has_face": True},
        )
        for i, picture in enumerate(pictures)
    ]
    assert samples[0].arrays.keys() <= ARRAYS.keys()
    write_json(scratch / "dataset.json", {"format": 1})
    write_shard(scratch, "000-00000", samples)
    task = UNetTask(Settings((scratch,), loop, compose=0.0, same_photo=same_photo))
    task.model = model
    return Shape(task, encoders.in_precision(loop.precision), pictures, loop)


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
