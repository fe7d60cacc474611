"""The moving average: what it holds, what it leaves alone, and that trying it on is undone."""

import pytest
import torch
from torch import nn

from facestudio.training.average import MovingAverage


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))


def test_follows_the_weights(model):
    average = MovingAverage(model, 0.5)
    before = model[0].weight.detach().clone()
    nn.init.zeros_(model[0].weight)
    average.update(model, step=1000)
    assert torch.allclose(average.means["0.weight"], before / 2)


def test_early_steps_weigh_more(model):
    average = MovingAverage(model, 0.999)
    before = model[0].weight.detach().clone()
    nn.init.zeros_(model[0].weight)
    average.update(model, step=1)
    assert torch.allclose(average.means["0.weight"], before * 2 / 11)


def test_running_statistics_and_counts_are_kept_too(model):
    average = MovingAverage(model, 0.9)
    model(torch.randn(8, 2))
    average.update(model, step=1)
    assert average.means["1.num_batches_tracked"] == 1
    assert bool((average.means["1.running_mean"] != 0).any())


def test_frozen_weights_take_no_memory(model):
    model[0].requires_grad_(False)
    assert not {"0.weight", "0.bias"} & MovingAverage(model, 0.9).means.keys()


def test_tried_on_and_taken_off_again(model):
    average = MovingAverage(model, 0.9)
    nn.init.ones_(model[0].weight)
    mean = average.means["0.weight"].clone()
    with average.applied(model.train()) as shown:
        assert torch.equal(shown[0].weight, mean)
        assert not shown.training
    assert torch.equal(model[0].weight, torch.ones(3, 2))
    assert torch.equal(average.means["0.weight"], mean)
    assert model.training


def test_none_is_kept_where_it_is_switched_off(model):
    average = MovingAverage(model, 0.0)
    average.update(model, step=1)
    assert average.state_dict() == {}


def test_states_with_more_than_it_holds_are_read(model):
    whole = MovingAverage(model, 0.9).state_dict()
    model[0].requires_grad_(False)
    average = MovingAverage(model, 0.9)
    average.load_state_dict({name: value + 1 for name, value in whole.items()})
    assert torch.equal(average.means["2.bias"], whole["2.bias"] + 1)
