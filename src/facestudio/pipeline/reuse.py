"""A U-Net that uses again what it made at earlier steps of a run.

The model is shared by every request and is left as it is: each run has a graft, a copy of the
U-Net's modules down to the few that are replaced, with the rest, and all weights, in common.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from facestudio.guidance.adapter import cross_attentions
from facestudio.pipeline.speed import SpeedSettings


def reuse(unet: UNet2DConditionModel, speed: SpeedSettings, steps: int) -> Any:
    """The U-Net for one run of `steps` calls: itself where the settings leave nothing out."""
    if speed.deep_every == 1 and not speed.gates(steps - 1, steps):
        return unet
    return ReusingUNet(unet, speed, steps)


class ReusingUNet:
    """A U-Net under DeepCache and T-GATE; called as it is, once a step.

    Where a step has fewer rows than what is kept, cfg's unconditional half has been left out, and
    the last rows are used; where it has more, all is computed anew.
    """

    def __init__(self, unet: UNet2DConditionModel, speed: SpeedSettings, steps: int) -> None:
        self.config = unet.config
        self._speed, self._steps, self._step = speed, steps, 0
        self._gate, self._deep = Gate(), Kept()
        if speed.gates(steps - 1, steps):
            attentions = cross_attentions(unet).items()
            unet = graft(unet, {n: GatedAttention(attn, self._gate) for n, attn in attentions})
        self._full: nn.Module = unet
        if speed.deep_every > 1:
            layers = min(speed.outer_layers, len(unet.down_blocks[0].resnets))
            self._outer = keep_outer(unet, layers, self._deep)
            self._full = tap_deep(unet, layers, self._deep)

    def __call__(self, inputs: Tensor, timestep: Tensor, **options: Any) -> Any:
        """What the U-Net predicts, in the form that its options ask for."""
        step, self._step = self._step, self._step + 1
        self._gate.closed = self._speed.gates(step, self._steps)
        due = step % self._speed.deep_every == 0
        if due or self._deep.last(len(inputs)) is None:
            return self._full(inputs, timestep, **options)
        if options.get("mid_block_additional_residual") is not None:  # a ControlNet's; it is in
            options["mid_block_additional_residual"] = inputs.new_zeros(())
        return self._outer(inputs, timestep, **options)


class Kept:
    """Rows that were made at an earlier step."""

    rows: Tensor | None = None

    def last(self, count: int) -> Tensor | None:
        """The last `count` rows (count, ...), None where there are not as many."""
        if self.rows is None or len(self.rows) < count:
            return None
        return self.rows[-count:]


class Gate:
    """Whether the cross-attentions of one run are closed."""

    closed = False


class GatedAttention(nn.Module):
    """A cross-attention that, once its gate is closed, runs once more and then repeats itself."""

    def __init__(self, attn: nn.Module, gate: Gate) -> None:
        super().__init__()
        self.attn, self.gate, self.kept = attn, gate, Kept()

    def forward(self, hidden_states: Tensor, *args: Any, **options: Any) -> Tensor:
        kept = self.kept.last(len(hidden_states)) if self.gate.closed else None
        if kept is None:
            kept = self.attn(hidden_states, *args, **options)
            if self.gate.closed:
                self.kept.rows = kept
        return kept


class TappedResnet(nn.Module):
    """A resnet of the last block that keeps what reaches it from the inner blocks.

    Its input is that, and beside it `skipped` channels of a skip connection.
    """

    def __init__(self, resnet: nn.Module, kept: Kept, skipped: int) -> None:
        super().__init__()
        self.resnet, self.kept, self.skipped = resnet, kept, skipped

    def forward(self, hidden_states: Tensor, *args: Any) -> Tensor:
        self.kept.rows = hidden_states[:, : -self.skipped].clone()
        result: Tensor = self.resnet(hidden_states, *args)
        return result


class KeptBlock(nn.Module):
    """Stands for all inner blocks: gives what they made last."""

    def __init__(self, kept: Kept) -> None:
        super().__init__()
        self.kept = kept

    def forward(self, hidden_states: Tensor, *_: Any) -> Tensor:
        rows = self.kept.last(len(hidden_states))
        assert rows is not None
        return rows


def tap_deep(unet: Any, layers: int, kept: Kept) -> nn.Module:
    """The whole U-Net, keeping what enters the last block's last `layers` + 1 layers."""
    last = len(unet.up_blocks) - 1
    index = len(unet.up_blocks[last].resnets) - 1 - layers
    tapped = TappedResnet(
        unet.up_blocks[last].resnets[index], kept, unet.config.block_out_channels[0]
    )
    return graft(unet, {f"up_blocks.{last}.resnets.{index}": tapped})


def keep_outer(unet: Any, layers: int, kept: Kept) -> nn.Module:
    """The U-Net's first `layers` layers and last `layers` + 1, with what is kept between them."""
    first = cut(unet.down_blocks[0], slice(0, layers), {"downsamplers": None})
    last = cut(unet.up_blocks[-1], slice(-1 - layers, None), {})
    outer = {
        "down_blocks": nn.ModuleList([first] if layers else []),
        "mid_block": KeptBlock(kept),
        "up_blocks": nn.ModuleList([last]),
    }
    return graft(unet, outer)


def cut(block: nn.Module, part: slice, replaced: Mapping[str, nn.Module | None]) -> nn.Module:
    """A block of fewer layers."""
    lists = [name for name in ("resnets", "attentions") if hasattr(block, name)]
    layers = {name: nn.ModuleList(list(getattr(block, name))[part]) for name in lists}
    return graft(block, {**layers, **replaced})


def graft(module: nn.Module, replaced: Mapping[str, nn.Module | None]) -> Any:
    """A copy of `module` with other submodules at these paths, which shares all the rest."""
    grafted = copy.copy(module)
    grafted._modules = dict(module._modules)
    grafted._compiled_call_impl = None  # a compiled module's would run what was replaced
    inner: dict[str, dict[str, nn.Module | None]] = {}
    for path, new in replaced.items():
        name, _, rest = path.partition(".")
        inner.setdefault(name, {})[rest] = new
    for name, news in inner.items():
        whole = "" in news
        grafted._modules[name] = news[""] if whole else graft(module.get_submodule(name), news)
    return grafted
