"""Optimizers: each learns, the factored one is small, unknown ones are refused; the schedule."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from facestudio.errors import BadOption
from facestudio.settings import load_settings
from facestudio.training import optimizers as module
from facestudio.training.loop import LoopSettings
from facestudio.training.optimizers import PACE, learning_rate, make_optimizer

SETTINGS = LoopSettings(out=Path("run"), steps=100, warmup=10, decay=0.5, lr=1.0)


def fall_of_loss(name: str, lr: float) -> float:
    torch.manual_seed(0)
    model = nn.Linear(4, 4)
    optimizer = make_optimizer(model, replace(SETTINGS, optimizer=name, lr=lr))
    x, losses = torch.randn(64, 4), []
    for _ in range(60):
        loss = (model(x) - 2 * x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses[-1] / losses[0]


@pytest.mark.parametrize(("name", "lr"), [("adamw", 0.05), ("adafactor", 0.05)])
def test_learns(name, lr):
    assert fall_of_loss(name, lr) < 0.3


def test_factored_state_is_rows_and_columns():
    model = nn.Linear(64, 64, bias=False)
    optimizer = make_optimizer(model, replace(SETTINGS, optimizer="adafactor"))
    model(torch.randn(2, 64)).sum().backward()
    optimizer.step()
    held = optimizer.state[model.weight].values()
    assert sum(value.numel() for value in held) < 200


def test_a_convolution_is_factored_as_a_matrix():
    torch.manual_seed(0)
    layer, flat = nn.Conv2d(8, 16, 3, bias=False), nn.Linear(72, 16, bias=False)
    flat.weight.data = layer.weight.data.flatten(1).clone()
    x = torch.randn(4, 8, 3, 3)
    for model, seen in ((layer, x), (flat, x.flatten(1))):
        optimizer = make_optimizer(model, replace(SETTINGS, optimizer="adafactor"))
        for _ in range(3):
            optimizer.zero_grad()
            model(seen).square().sum().backward()
            optimizer.step()
        assert sum(value.numel() for value in optimizer.state[model.weight].values()) == 16 + 72 + 1
    assert layer.weight.shape == layer.weight.grad.shape == (16, 8, 3, 3)
    torch.testing.assert_close(layer.weight.flatten(1), flat.weight, rtol=1e-3, atol=1e-4)


def test_eight_bits_by_the_package_itself():
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")
    torch.manual_seed(0)
    model = nn.Linear(96, 96)  # fewer than 4,096 weights stay in fp32
    optimizer = make_optimizer(model, replace(SETTINGS, optimizer="adamw8bit"))
    x, losses = torch.randn(64, 96), []
    for group in optimizer.param_groups:
        group["lr"] = 0.05
    for _ in range(40):
        loss = (model(x) - 2 * x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]
    held = optimizer.state[model.weight]
    assert held["state1"].dtype == held["state2"].dtype == torch.uint8


def test_eight_bits_without_its_package_say_what_to_do(monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(module, "import_module", absent)
    with pytest.raises(BadOption, match=r"needs bitsandbytes; pip install bitsandbytes, or"):
        make_optimizer(nn.Linear(1, 1), replace(SETTINGS, optimizer="adamw8bit"))


def test_unknown_ones_are_refused_by_name(tmp_path):
    with pytest.raises(BadOption, match=r"optimizer.*'adamw', 'adamw8bit', 'adafactor'"):
        load_settings(LoopSettings, None, [f"out={tmp_path}", "optimizer=lion"])


def test_nothing_to_train_is_refused():
    with pytest.raises(BadOption, match="every weight is frozen"):
        make_optimizer(nn.Linear(1, 1).requires_grad_(False), SETTINGS)


def test_learning_rate_warms_up_stays_and_falls_to_zero():
    rates = [learning_rate(step, SETTINGS) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[10:50] == [1.0] * 40
    assert rates[75] == pytest.approx(0.5, abs=0.01)
    assert rates[99] < 0.01


def test_a_part_with_a_pace_of_its_own_learns_at_it():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].pace = 4.0
    model[2].bias.requires_grad_(False)
    optimizer = make_optimizer(model, SETTINGS)
    paces = {group.get(PACE, 1.0): len(group["params"]) for group in optimizer.param_groups}
    assert paces == {1.0: 3, 4.0: 2}
