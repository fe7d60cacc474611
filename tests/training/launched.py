"""What `accelerate launch` runs in test_launched.py: a training as told on the command line.

    launched.py FOLDER PART CONFIG [--die-at STEP]

Losses go to FOLDER/losses-WORLD.json; one process of several kills itself at STEP.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from importlib import import_module
from pathlib import Path

from facestudio.settings import load_settings


def main(out: str, part: str, config: str, die_at: str = "") -> None:
    trainer = import_module(f"facestudio.training.{part}")
    settings = load_settings(trainer.Settings, Path(config), [f"loop.out={out}"])
    losses = {}

    def report(step: int, figures: dict[str, float]) -> None:
        losses[step] = figures["loss"]
        if str(step) == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    trainer.train(settings, report)
    if losses:
        Path(out, "losses.json").write_text(json.dumps(losses))


for line in Path(sys.argv[1]).read_text().splitlines():
    main(*line.split())
