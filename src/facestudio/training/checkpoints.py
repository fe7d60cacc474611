"""Checkpoints of a training: written whole or not at all, the newest few kept.

    OUT/step-0000200/trainer.pt      weights, averages, optimizer, step, settings

Where FSDP shards the model, `sharded/` beside a `trainer.pt` without weights holds every process's
shards as torch.distributed.checkpoint writes them; another number of processes reads them too.
"""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.distributed import checkpoint as shards
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from facestudio.errors import BadOption
from facestudio.training.average import MovingAverage

STEP_FOLDER = "step-{:07d}"
STATE, SHARDS = "trainer.pt", "sharded"


def complete_checkpoints(out: Path) -> list[Path]:
    """Return the folders of complete checkpoints below `out`, oldest first."""
    return sorted(path for path in out.glob("step-*") if (path / STATE).is_file())


class Checkpoints:
    """The checkpoints below `out`, of what one accelerator has prepared."""

    def __init__(
        self,
        out: Path,
        keep: int,
        accelerator: Accelerator,
        model: nn.Module,
        optimizer: Any,
        average: MovingAverage,
        *,
        sharded: bool,
    ) -> None:
        self.out, self.keep, self.accelerator = out, keep, accelerator
        self.model, self.optimizer, self.average = model, optimizer, average
        self.sharded = sharded

    def complete(self) -> list[Path]:
        """Return the folders of complete checkpoints, oldest first."""
        return complete_checkpoints(self.out)

    def save(self, step: int, settings: Mapping[str, Any]) -> None:
        """Write the checkpoint of a step; a full disk keeps the last good one and warns."""
        folder = self.out / STEP_FOLDER.format(step)
        partial = folder.with_name(f".{folder.name}.partial")
        self.accelerator.wait_for_everyone()
        if folder.exists():
            return
        problem = self._write(partial, {"step": step, "settings": dict(settings)})
        if self._on_any_process(problem is not None):
            self._give_up(step, partial, problem)
        elif self.accelerator.is_main_process:
            os.replace(partial, folder)
            for old in self.complete()[: -self.keep]:
                shutil.rmtree(old)
        self.accelerator.wait_for_everyone()

    def load_newest(self) -> int:
        """Take the state of the newest checkpoint; return its step, 0 if there is none.

        Raises BadOption where the checkpoint is of other parts or another optimizer.
        """
        kept = self.complete()
        if not kept:
            return 0
        try:
            return self._read(kept[-1])
        except (KeyError, ValueError, RuntimeError) as problem:
            raise BadOption(
                f"{kept[-1]} was written by other settings: {problem}",
                file=kept[-1],
                hint="choose another loop.out, or resume = false",
            ) from problem

    def _write(self, folder: Path, state: dict[str, Any]) -> Exception | None:
        """Write this process's files; return what went wrong."""
        main = self.accelerator.is_main_process
        try:
            folder.mkdir(exist_ok=True)
            if self.sharded:
                shards.state_dict_saver.save(self._sharded_state(), checkpoint_id=folder / SHARDS)
            elif main:
                state = state | {
                    "model": self.accelerator.unwrap_model(self.model).state_dict(),
                    "average": self.average.state_dict(),
                    "optimizer": self.optimizer.state_dict(),
                }
            if main:
                torch.save(state, folder / STATE)
        except (OSError, RuntimeError) as problem:
            return problem
        return None

    def _sharded_state(self) -> dict[str, Any]:
        model, optimizer = get_state_dict(self.model, self.optimizer.optimizer)
        return {"model": model, "optimizer": optimizer, "average": self.average.state_dict()}

    def _load_optimizer(self, state: dict[str, Any]) -> None:
        """Torch would take another optimizer's state; its settings have other names."""
        now = self.optimizer.state_dict()
        if state["param_groups"][0].keys() != now["param_groups"][0].keys():
            raise ValueError("its optimizer is another one")
        self.optimizer.load_state_dict(state)

    def _on_any_process(self, happened: bool) -> bool:
        count = torch.tensor(float(happened), device=self.accelerator.device)
        return bool(self.accelerator.reduce(count, "sum") > 0)

    def _give_up(self, step: int, partial: Path, problem: Exception | None) -> None:
        if self.accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
        kept = self.complete()
        warnings.warn(
            f"checkpoint of step {step} could not be written "
            f"({problem or 'by another process'}); "
            f"the last good one is {kept[-1] if kept else 'none'}",
            stacklevel=3,
        )

    def _read(self, folder: Path) -> int:
        state = torch.load(folder / STATE, map_location="cpu", weights_only=True, mmap=True)
        if self.sharded:
            held = self._sharded_state()
            shards.state_dict_loader.load(
                held, checkpoint_id=folder / SHARDS
            )  # into the tensors of `held`
            set_state_dict(
                self.model,
                self.optimizer.optimizer,
                model_state_dict=held["model"],
                optim_state_dict=held["optimizer"],
            )
            self.average.load_state_dict(held["average"])
        else:
            self.accelerator.unwrap_model(self.model).load_state_dict(state["model"])
            self.average.load_state_dict(state["average"])
            self._load_optimizer(state["optimizer"])
        return int(state["step"])
