"""Two processes by `accelerate launch`: the curve of one, exact after a kill; sharded by FSDP too.

One launch trains several parts, since starting processes is what takes the time.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from facestudio.encoders.image_towers import ImageTowerConfig, ImageTowers
from facestudio.encoders.text_towers import TextTowerConfig, TextTowers
from facestudio.encoders.wordpiece import build_vocabulary, make_tokenizer
from facestudio.settings import to_toml
from facestudio.training import prior, unet
from facestudio.training.loop import LoopSettings
from facestudio.training.unet_settings import GuidanceSettings, UNetSettings

PROGRAM = Path(__file__).with_name("launched.py")
TWO = ["--multi_gpu", "--num_processes=2"]  # on a machine without GPUs: two on its CPU, by gloo
QUIET = ["--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"]
WEIGHTS = {
    "whole": "unet/diffusion_pytorch_model.safetensors",
    "adapter": "unet/diffusion_pytorch_model.safetensors",
    "prior": "prior/diffusion_pytorch_model.safetensors",
}

pytestmark = pytest.mark.slow


def launch(lines: list[str], folder: Path, *how: str) -> subprocess.CompletedProcess[str]:
    """Run the program's lines by `accelerate launch`."""
    plan = folder / "plan.txt"
    plan.write_text("\n".join(lines))
    command = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *how, *QUIET, str(PROGRAM), str(plan)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def write_towers(folder: Path) -> Path:
    image = ImageTowerConfig("vit", 16, output_dim=8, width=8, layers=(1,), heads=2, patch=8)
    text = TextTowerConfig(output_dim=4, width=8, layers=1, heads=2, context_length=12)
    ImageTowers.from_config([image]).save(folder)
    tokenizer = make_tokenizer(build_vocabulary(["a photo of a man"], min_count=1), 12)
    TextTowers.from_config([text], tokenizer).save(folder)
    return folder


@pytest.fixture
def configs(prepared, tmp_path) -> dict[str, Path]:
    """TOML files of three trainings: the whole U-Net, the adapter alone, the prior."""
    loop = LoopSettings(
        out=tmp_path / "unused", steps=6, batch=6, lr=2e-3, warmup=1, save_every=2, log_every=1
    )
    whole = unet.Settings(
        data=(prepared,),
        loop=loop,
        unet=UNetSettings((8, 16), 1, heads=2, norm_num_groups=4),
        guidance=GuidanceSettings(3, 8),
        compose=0.5,
        gradient_checkpointing=True,
    )
    settings = {
        "whole": whole,
        "adapter": unet.Settings(**{**vars(whole), "trainable": "adapter", "compose": 0.0}),
        "prior": prior.Settings(
            (prepared,), write_towers(tmp_path / "towers"), loop, width=16, layers=1, heads=2
        ),
    }
    for name, value in settings.items():
        (tmp_path / f"{name}.toml").write_text(to_toml(value))
    return {name: tmp_path / f"{name}.toml" for name in settings}


def test_two_processes_have_the_curve_of_one_and_resume_exactly(configs, tmp_path):
    lines = {
        name: f"{tmp_path}/{{}}-{name} {'prior' if name == 'prior' else 'unet'} {config}"
        for name, config in configs.items()
    }
    one = launch([line.format("one") for line in lines.values()], tmp_path, "--num_processes=1")
    assert one.returncode == 0, one.stderr
    cut = {name: line.format("cut") for name, line in lines.items()}
    dying = {name: f"{line} die 3" for name, line in cut.items()}  # the last checkpoint: of step 2
    sharded = [lines["whole"].format(name) for name in ("shard", "stopped", "stopped")]
    ways = (" shard", " stop 3 shard", " shard")
    rest = [line + way for line, way in zip(sharded, ways, strict=True)]
    launches = [
        [*(line.format("two") for line in lines.values()), dying["whole"]],
        [cut["whole"], dying["adapter"]],
        [cut["adapter"], dying["prior"]],
    ]
    for plan in launches:
        killed = launch(plan, tmp_path, *TWO)
        assert killed.returncode != 0
        assert "SIGKILL" in killed.stderr, killed.stderr
    again = launch([cut["prior"], *rest], tmp_path, *TWO)
    assert again.returncode == 0, again.stderr

    for name in configs:
        alone, shared = (losses(tmp_path / f"{world}-{name}") for world in ("one", "two"))
        assert np.allclose(alone, shared, rtol=2e-4), name
        assert len(set(alone)) == 6
    for name, weights in WEIGHTS.items():
        differ = far_apart(tmp_path / f"one-{name}", tmp_path / f"two-{name}", weights)
        assert differ < 1e-3, name
    for name, weights in WEIGHTS.items():
        whole, resumed = (tmp_path / f"{run}-{name}" for run in ("two", "cut"))
        assert losses(resumed) == losses(whole)[2:], name
        assert far_apart(whole, resumed, weights) == 0, name
    whole, shard, stopped = (tmp_path / f"{name}-whole" for name in ("two", "shard", "stopped"))
    assert np.allclose(losses(shard), losses(whole), rtol=2e-4)
    assert far_apart(whole, shard, WEIGHTS["whole"]) < 1e-3
    assert list(json.loads((stopped / "losses.json").read_text())) == ["4", "5", "6"]
    assert far_apart(shard, stopped, WEIGHTS["whole"]) == 0


def losses(out: Path) -> list[float]:
    """The loss of every step."""
    return list(json.loads((out / "losses.json").read_text()).values())


def far_apart(one: Path, other: Path, weights: str) -> float:
    """The largest difference between two exports' weights."""
    first, second = (load_file(out / "export" / weights) for out in (one, other))
    return max(float((first[name] - second[name]).abs().max()) for name in first)
