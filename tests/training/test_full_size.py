"""Stable Diffusion 1.5's U-Net in its true shape: it trains in bf16 within 24 GB."""

from __future__ import annotations

import resource

import numpy as np
import pytest
from diffusers import UNet2DConditionModel

from facestudio.data.shards import Sample, write_json, write_shard
from facestudio.guidance.hybrid import HybridGuidance
from facestudio.pipeline.base import CONFIG
from facestudio.training.generator import Generator
from facestudio.training.loop import LoopSettings, Trainer
from facestudio.training.trainable import choose_trainable
from facestudio.training.unet import UNetTask
from facestudio.training.unet_settings import NoiseSettings, Settings

CELLS = 32  # positions a side: 256 px; 64 takes five times the time and shows the same
IDENTITY_DIM, STYLE_DIM, TOKENS = 512, 768 + 512 + 512, 4
GIB = 2**30

pytestmark = [pytest.mark.full, pytest.mark.slow]


def write_set(folder, rng) -> None:
    """Two samples of random numbers."""
    arrays = {
        "latents": (4, CELLS, CELLS),
        "latents_flipped": (4, CELLS, CELLS),
        "identity": (IDENTITY_DIM,),
        "style": (STYLE_DIM,),
        "mask": (CELLS, CELLS),
        "eyes": (2, 2),
        "box": (4,),
    }
    samples = [
        Sample(
            {name: rng.standard_normal(shape) for name, shape in arrays.items()},
            b"",
            {"key": str(i), "source": "made", "captions": [], "has_face": True},
        )
        for i in range(2)
    ]
    write_json(folder / "dataset.json", {"format": 1})
    write_shard(folder, "000-00000", samples)


def test_the_whole_unet_learns_a_batch_in_bf16_within_24_gb(tmp_path, rng):
    write_set(tmp_path, rng)
    loop = LoopSettings(
        out=tmp_path / "run",
        steps=10,
        batch=1,
        optimizer="adafactor",
        lr=3e-3,
        warmup=1,
        decay=0.0,
        weight_decay=0.0,
        ema=0.0,
        precision="bf16",
    )
    noise = NoiseSettings(prediction_type="epsilon", rescale_betas_zero_snr=False)
    task = UNetTask(
        Settings((tmp_path,), loop, noise=noise, compose=0.0, drop_style=0.0, drop_face=0.0)
    )
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(CONFIG / "unet"))
    guidance = HybridGuidance(STYLE_DIM, IDENTITY_DIM, TOKENS, int(unet.config.cross_attention_dim))
    choose_trainable(unet, "all", checkpointing=True)
    task.model = Generator(unet, guidance)
    batch = task.batch(np.random.default_rng(0), 1)
    task.batch = lambda rng, size: batch
    trainer = Trainer(task, loop, {})
    losses = []
    for _ in range(loop.steps):
        losses.append(trainer.advance()["loss"])
        print(f"loss {losses[-1]:.4f}", flush=True)  # noqa: T201 (shown by pytest -s)
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.7 * losses[0]
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
    assert peak_gib < 24
