"""The shipped configs: each is read whole by what it is for, says its cost, and counts right."""

from importlib import import_module
from pathlib import Path

import pytest
import torch
import yaml
from accelerate import FullyShardedDataParallelPlugin
from accelerate.commands.config.config_args import ClusterConfig
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env
from diffusers import UNet2DConditionModel

from facestudio.data.prepare import PrepareSettings
from facestudio.guidance.hybrid import HybridGuidance
from facestudio.pipeline.base import CONFIG
from facestudio.settings import load_settings
from facestudio.training.trainable import choose_trainable

CONFIGS = Path(__file__).parents[2] / "configs"
UNETS = ("paper", "one_24gb_card", "adapter")


def count(module: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters() if weight.requires_grad)


@pytest.mark.parametrize("name", [*UNETS, "prior"])
def test_trainings_are_read_and_say_their_cost(name):
    path = CONFIGS / "sd15" / f"{name}.toml"
    part = "prior" if name == "prior" else "unet"
    settings = load_settings(import_module(f"facestudio.training.{part}").Settings, path)
    assert settings.loop.batch % (8 * settings.loop.accumulation) == 0 or name == "adapter"
    header = path.read_text().split("\n\n")[0]
    assert any(word in header for word in ("hours", "days"))


def test_the_papers_recipe_is_the_papers():
    settings = load_settings(
        import_module("facestudio.training.unet").Settings, CONFIGS / "sd15" / "paper.toml"
    )
    loop = settings.loop
    assert (loop.batch, loop.lr, loop.steps) == (256, 1e-6, 100_000)
    assert (settings.drop_style, settings.drop_face) == (0.64, 0.1)
    assert (settings.trainable, settings.same_photo) == ("all", 1.0)


def test_preparation_names_sources_that_trainings_weigh():
    prepare = load_settings(PrepareSettings, CONFIGS / "sd15" / "prepare.toml")
    names = {source.name for source in prepare.sources}
    for name in UNETS:
        settings = load_settings(
            import_module("facestudio.training.unet").Settings, CONFIGS / "sd15" / f"{name}.toml"
        )
        assert settings.source_weights.keys() == names


@pytest.mark.parametrize("name", ["eight_gpus", "fsdp"])
def test_accelerate_reads_its_own(name):
    path = CONFIGS / "accelerate" / f"{name}.yaml"
    config = ClusterConfig.from_yaml_file(path)
    assert config.mixed_precision == "bf16"
    assert config.num_processes == 8 * config.num_machines
    assert yaml.safe_load(path.read_text())["distributed_type"] == config.distributed_type.value


def environment_of(name: str, *more: str) -> dict[str, str]:
    """What `accelerate launch` with that config tells each process."""
    config = CONFIGS / "accelerate" / f"{name}.yaml"
    command = ["--config_file", str(config), "--main_process_port=0", *more]
    program = ["-m", "facestudio", "train", "unet", "configs/sd15/paper.toml"]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(command + program))
    assert args.module
    assert args.training_script == "facestudio"
    return prepare_multi_gpu_env(args)


def test_accelerate_starts_eight_processes_with_the_whole_model():
    told = environment_of("eight_gpus")
    assert told["ACCELERATE_MIXED_PRECISION"] == "bf16"
    assert "ACCELERATE_USE_FSDP" not in told


def test_accelerate_shards_over_machines_as_the_loop_knows_it(monkeypatch):
    told = environment_of("fsdp", "--machine_rank=1", "--main_process_ip=127.0.0.1")
    assert told["ACCELERATE_USE_FSDP"] == "true"
    for key, value in told.items():
        monkeypatch.setenv(key, value)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.transformer_cls_names_to_wrap == ["BasicTransformerBlock", "ResnetBlock2D"]
    assert not plugin.cpu_ram_efficient_loading


def test_the_adapter_is_three_percent_of_the_model():
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(CONFIG / "unet"))
        guidance = HybridGuidance(768 + 512 + 512, 512, 4, 768)
    whole = count(unet) + count(guidance)
    choose_trainable(unet, "adapter", False)
    adapter = count(unet) + count(guidance)
    assert adapter == 26_250_240
    assert adapter / whole == pytest.approx(0.03, abs=0.001)
