"""What `accelerate launch` runs in test_launched.py: trainings as a plan's lines tell.

    OUT PART CONFIG [die|stop STEP] [shard]

The main process writes the losses to OUT/losses.json. At STEP it is killed, or asked to stop as a
scheduler asks. `shard`: by FSDP, which accelerate itself starts on GPUs only.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from accelerate import Accelerator, FullyShardedDataParallelPlugin
from accelerate.utils import DistributedType

from facestudio.settings import load_settings
from facestudio.training import loop

SIGNALS = {"die": signal.SIGKILL, "stop": signal.SIGTERM}


class ShardingAccelerator(Accelerator):
    """Believes to be on GPUs."""

    def __init__(self, **words: Any) -> None:
        plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2,
            auto_wrap_policy="transformer_based_wrap",
            transformer_cls_names_to_wrap=["BasicTransformerBlock", "ResnetBlock2D"],
            cpu_ram_efficient_loading=False,
        )
        super().__init__(fsdp_plugin=plugin, **words)
        self.state.distributed_type = DistributedType.FSDP
        self.state.fsdp_plugin = plugin


def run(out: str, part: str, config: str, *more: str) -> None:
    if "shard" in more:
        loop.Accelerator = ShardingAccelerator
    ends = dict(zip(more[::2], more[1::2], strict=False))
    trainer = import_module(f"facestudio.training.{part}")
    settings = load_settings(trainer.Settings, Path(config), [f"loop.out={out}"])
    losses = {}

    def report(step: int, figures: dict[str, float]) -> None:
        losses[step] = figures["loss"]
        for way, when in ends.items():
            if when == str(step):
                os.kill(os.getpid(), SIGNALS[way])

    with suppress(KeyboardInterrupt):
        trainer.train(settings, report)
    if losses:
        Path(out, "losses.json").write_text(json.dumps(losses))


for line in Path(sys.argv[1]).read_text().splitlines():
    run(*line.split())
