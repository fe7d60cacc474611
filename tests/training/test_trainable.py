"""What is trained and what stays: the adapter's weights, checkpointed gradients, refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from facestudio.errors import BadOption
from facestudio.settings import from_dict
from facestudio.training.convolutions import FastConvolutions
from facestudio.training.loop import LoopSettings, Trainer
from facestudio.training.noising import draw_noise_of
from facestudio.training.unet import Settings, UNetTask, train
from facestudio.training.unet_settings import GuidanceSettings, UNetSettings


@pytest.fixture
def settings(prepared, tmp_path) -> Settings:
    return Settings(
        data=(prepared,),
        loop=LoopSettings(out=tmp_path / "run", steps=3, batch=6, lr=1e-2, warmup=1),
        unet=UNetSettings((8, 16), 1, heads=2, norm_num_groups=4),
        guidance=GuidanceSettings(3, 8),
        compose=0.0,
    )


def gradients(task: UNetTask, rng) -> dict[str, torch.Tensor]:
    loss, _ = task.loss(task.model.train(), task.batch(rng, 4))
    loss.backward()
    return {name: p.grad for name, p in task.model.named_parameters() if p.grad is not None}


def test_adapter_is_the_guidance_and_the_keys_and_values_that_read_it(settings, rng):
    trained = gradients(UNetTask(replace(settings, trainable="adapter")), rng)
    assert {"guidance.join.weight", "guidance.join.bias"} <= trained.keys()
    others = trained.keys() - {"guidance.join.weight", "guidance.join.bias"}
    assert others
    assert all(".attn2.to_k." in name or ".attn2.to_v." in name for name in others)


def test_training_the_adapter_leaves_the_base_as_it_was(settings):
    task = UNetTask(replace(settings, trainable="adapter"))
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    folder = train(replace(settings, trainable="adapter"))
    after = UNetTask(replace(settings, init=folder)).model.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "guidance.join.weight" in changed
    assert all("guidance." in name or ".attn2.to_" in name for name in changed)


@pytest.mark.parametrize("compose", [0.0, 1.0])
def test_gradient_checkpointing_changes_no_gradient(settings, compose):
    def at(checkpointing: bool) -> dict[str, torch.Tensor]:
        chosen = replace(settings, gradient_checkpointing=checkpointing, compose=compose)
        return gradients(UNetTask(chosen), np.random.default_rng(4))

    plain, checkpointed = at(False), at(True)
    assert plain.keys() == checkpointed.keys()
    for name, gradient in plain.items():
        assert torch.allclose(gradient, checkpointed[name], atol=1e-6), name


@pytest.mark.parametrize("trainable", ["all", "adapter"])
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_gradient_checkpointing_computes_alike_both_times(settings, precision, trainable):
    loop = replace(settings.loop, precision=precision, steps=1)
    chosen = replace(settings, loop=loop, trainable=trainable)
    plain, again = (
        Trainer(UNetTask(replace(chosen, gradient_checkpointing=twice)), loop, {}).advance()
        for twice in (False, True)
    )
    assert again == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("trainable", ["all", "adapter"])
def test_fast_convolutions_change_a_step_by_rounding_alone(settings, trainable):
    chosen = replace(settings, trainable=trainable)
    fast, plain = (
        Trainer(UNetTask(chosen), replace(settings.loop, fast_convolutions=on), {})
        for on in (True, False)
    )
    found, wanted = fast.advance(), plain.advance()
    assert found == pytest.approx(wanted, rel=1e-4)
    assert bool(fast.convolutions.packed) == (trainable == "adapter")
    assert not plain.convolutions.packed


def test_fast_convolutions_can_be_switched_off(settings, monkeypatch):
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError

    monkeypatch.setattr(FastConvolutions, "convolve", refuse)
    off = replace(settings.loop, fast_convolutions=False)
    Trainer(UNetTask(settings), off, {}).advance()
    with pytest.raises(AssertionError):
        Trainer(UNetTask(settings), settings.loop, {}).advance()


def test_unknown_choice_is_refused():
    with pytest.raises(BadOption, match=r"trainable.*'all', 'adapter'"):
        from_dict(Settings, {"data": ["set"], "loop": {"out": "run"}, "trainable": "lora"})


def test_noise_is_drawn_for_every_sample_and_repeats(rng):
    batch = {"latents": torch.zeros(500, 2, 3, 3), "faces": torch.zeros(500, 2, 3, 3)}
    drawn = draw_noise_of(batch, rng)
    assert drawn["noise"].shape == drawn["blur"].shape == (500, 2, 3, 3)
    assert drawn["t"].min() >= 0
    assert 900 < drawn["t"].max() < 1000
    assert float(drawn["noise"].std()) == pytest.approx(1, abs=0.05)
    assert "blur" not in draw_noise_of({"latents": batch["latents"]}, rng)
