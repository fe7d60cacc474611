"""ModifiedResNet equals OpenAI's own code, weight by weight and number by number."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import nn

from facestudio.encoders.clip_resnet import ModifiedResNet


def randomise_norms(network: nn.Module) -> None:
    """Give batch norms weights and statistics at which no branch is silent."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)


def make_oracle(openai_clip: ModuleType) -> nn.Module:
    torch.manual_seed(0)
    # heads are width * 32 // 64, as OpenAI builds all its towers
    oracle = openai_clip.ModifiedResNet((1, 2, 1, 1), 12, 4, input_resolution=64, width=8)
    randomise_norms(oracle)
    return oracle.eval()


def test_equals_openai(openai_clip: ModuleType) -> None:
    oracle = make_oracle(openai_clip)
    ours = ModifiedResNet((1, 2, 1, 1), 12, 4, input_resolution=64, width=8).eval()
    ours.load_state_dict(oracle.state_dict())
    pixels = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(pixels), oracle(pixels), rtol=1e-4, atol=1e-5)


def test_equals_openai_in_training_mode_with_gradients(openai_clip: ModuleType) -> None:
    oracle = make_oracle(openai_clip).train()
    ours = ModifiedResNet((1, 2, 1, 1), 12, 4, input_resolution=64, width=8).train()
    ours.load_state_dict(oracle.state_dict())
    pixels = torch.randn(2, 3, 64, 64)
    ours(pixels).square().sum().backward()
    oracle(pixels).square().sum().backward()
    expected = dict(oracle.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("prefix", ["", "visual."])
def test_a_checkpoint_says_its_sizes(openai_clip: ModuleType, prefix: str) -> None:
    oracle = make_oracle(openai_clip)
    state = {prefix + name: value for name, value in oracle.state_dict().items()}
    state |= {"logit_scale": torch.ones(()), "transformer.resblocks.0.ln_1.weight": torch.ones(1)}
    ours = ModifiedResNet.from_open_clip(state).eval()
    assert (ours.input_resolution, ours.output_dim) == (64, 12)
    pixels = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(ours(pixels), oracle(pixels), rtol=1e-4, atol=1e-5)


def test_rn101_has_the_public_sizes() -> None:
    with torch.device("meta"):
        tower = ModifiedResNet((3, 4, 23, 3), 512, 32)
    assert tower.attnpool.positional_embedding.shape == (50, 2048)
    assert sum(p.numel() for p in tower.parameters()) == 56_259_936
    assert tower.layer3[22].conv3.weight.shape == (1024, 256, 1, 1)


def test_a_fresh_block_is_its_shortcut() -> None:
    torch.manual_seed(0)
    tower = ModifiedResNet((2, 1, 1, 1), 12, 4, input_resolution=64, width=4).eval()
    x = torch.rand(1, 16, 8, 8)  # not negative, as after a ReLU
    torch.testing.assert_close(tower.layer1[1](x), x)


def test_a_weight_too_few_is_refused(openai_clip: ModuleType) -> None:
    state = make_oracle(openai_clip).state_dict()
    del state["layer2.1.bn3.weight"]
    with pytest.raises(RuntimeError, match=r"layer2\.1\.bn3\.weight"):
        ModifiedResNet.from_open_clip(state)
