"""The one training loop: what a task is, how it is stepped, kept, resumed and shown.

A batch is a pure function of (seed, step, process), so a run killed at any step and started
again continues exactly: there is no reader state to lose. The learning rate, too, is a function
of the step alone. Accelerate places the model, averages gradients over processes and keeps
the optimizer's state.
"""

from __future__ import annotations

import copy
import math
import os
import shutil
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from facestudio.errors import BadOption

STEP_FOLDER = "step-{:07d}"

Report = Callable[[int, dict[str, float]], None]
"""Called now and then with the step and the mean of the last figures."""


@dataclass(frozen=True)
class LoopSettings:
    """How long, how fast and how safely a task is trained; read from the table `[loop]`."""

    out: Path  # folder of checkpoints, curves and the exported part
    steps: int = 1000
    batch: int = 32  # global: shared by all processes
    accumulation: int = 1  # micro-batches a step
    lr: float = 1e-4
    warmup: int = 100  # steps
    decay: float = 0.3  # the last share of the steps falls to zero, along a cosine
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    grad_clip: float = 1.0
    ema: float = 0.999  # 0 switches the moving average off
    precision: Literal["no", "bf16", "fp16"] = "no"
    save_every: int = 500
    keep: int = 2  # checkpoints
    sample_every: int = 0  # 0: no sample grids
    log_every: int = 20
    seed: int = 0
    threads: int = 0  # torch threads; 0 leaves torch's choice
    resume: bool = True


class Task(Protocol):
    """What a trainer brings to the loop."""

    @property
    def model(self) -> nn.Module:
        """What is trained."""

    def batch(self, rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        """Return the tensors of one batch of `size` samples."""

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the loss and figures to log."""

    def samples(self, model: nn.Module) -> np.ndarray | None:
        """Return a sheet of samples (H, W, 3) uint8, or None."""

    def export(self, model: nn.Module, folder: Path) -> None:
        """Write the trained part in the form the pipeline reads."""


def learning_rate(step: int, settings: LoopSettings) -> float:
    """Return the learning rate of `step`: linear warm-up, a plateau, a cosine to zero."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup))
    left = (settings.steps - step) / max(1.0, settings.decay * settings.steps)
    return settings.lr * warm * (0.5 * (1 - math.cos(math.pi * min(1.0, left))))


def batch_rng(seed: int, step: int, process: int, micro: int) -> np.random.Generator:
    """Return the random source of one micro-batch; the same numbers give the same batch."""
    return np.random.default_rng([seed, step, process, micro])


def train_task(
    task: Task, settings: LoopSettings, resolved: Mapping[str, Any], report: Report | None = None
) -> Path:
    """Train a task to its last step; the folder of the exported part.

    `resolved`: all settings of the run, kept in every checkpoint.
    """
    Trainer(task, settings, resolved).train(report)
    return settings.out / "export"


class Trainer:
    """Steps a task from its last checkpoint to `settings.steps`."""

    def __init__(self, task: Task, settings: LoopSettings, resolved: Mapping[str, Any]) -> None:
        if settings.threads:
            torch.set_num_threads(settings.threads)
        self.task, self.settings, self.resolved = task, settings, resolved
        self.accelerator = Accelerator(
            mixed_precision=settings.precision, cpu=not torch.cuda.is_available()
        )
        world = self.accelerator.num_processes
        if settings.batch % (world * settings.accumulation):
            raise BadOption(
                f"loop.batch is {settings.batch}; it must divide by {world} processes × "
                f"{settings.accumulation} accumulation"
            )
        self.micro_batch = settings.batch // (world * settings.accumulation)
        self.average = copy.deepcopy(task.model).requires_grad_(False).eval()
        optimizer = torch.optim.AdamW(
            [p for p in task.model.parameters() if p.requires_grad],
            lr=settings.lr,
            betas=settings.betas,
            weight_decay=settings.weight_decay,
        )
        self.model, self.optimizer = self.accelerator.prepare(task.model, optimizer)
        self.average.to(self.accelerator.device)
        self.step = 0
        self.writer: Any = None

    def train(self, report: Report | None = None) -> None:
        """Train to the last step, saving on the way and at a stop by Ctrl-C."""
        self.settings.out.mkdir(parents=True, exist_ok=True)
        if self.settings.resume:
            self.resume()
        self.open_log()
        figures: list[dict[str, float]] = []
        started, first = time.perf_counter(), self.step
        try:
            while self.step < self.settings.steps:
                figures.append(self.advance())
                if self.step % self.settings.log_every == 0:
                    seconds = time.perf_counter() - started
                    self.log(figures, (self.step - first) * self.settings.batch / seconds, report)
                    figures = []
                self.keep_on_the_way()
        except KeyboardInterrupt:
            self.save()
            raise
        finally:
            if self.writer is not None:
                self.writer.close()
        self.save()
        self.export()

    def advance(self) -> dict[str, float]:
        """Take one optimizer step; return its figures."""
        settings = self.settings
        rate = learning_rate(self.step, settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.model.train()
        figures: dict[str, float] = {}
        for micro in range(settings.accumulation):
            process = self.accelerator.process_index
            rng = batch_rng(settings.seed, self.step, process, micro)
            torch.manual_seed(int(rng.integers(2**62)))
            batch = self.task.batch(rng, self.micro_batch)
            batch = {k: v.to(self.accelerator.device) for k, v in batch.items()}
            with self.accelerator.autocast():
                loss, figures = self.task.loss(self.model, batch)
            self.accelerator.backward(loss / settings.accumulation)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), settings.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.update_average()
        loss_value = float(self.accelerator.reduce(loss.detach(), "mean"))
        return {"loss": loss_value, "grad_norm": float(norm), "lr": rate, **figures}

    @torch.no_grad()
    def update_average(self) -> None:
        """Move the averaged weights towards the trained ones; early steps weigh more."""
        decay = (
            min(self.settings.ema, (1 + self.step) / (10 + self.step)) if self.settings.ema else 0.0
        )
        trained = self.accelerator.unwrap_model(self.model).state_dict()
        for name, mean in self.average.state_dict().items():
            if mean.dtype.is_floating_point:
                mean.lerp_(trained[name].to(mean.dtype), 1 - decay)
            else:
                mean.copy_(trained[name])

    def keep_on_the_way(self) -> None:
        """Save and draw samples where the settings say so."""
        settings = self.settings
        if settings.save_every and self.step % settings.save_every == 0:
            self.save()
        if settings.sample_every and self.step % settings.sample_every == 0:
            sheet = self.task.samples(self.average)
            if sheet is not None and self.writer is not None:
                self.writer.add_image("samples", sheet, self.step, dataformats="HWC")

    def checkpoints(self) -> list[Path]:
        """Return the complete checkpoints, oldest first."""
        return sorted(p for p in self.settings.out.glob("step-*") if (p / "trainer.pt").is_file())

    def save(self) -> None:
        """Write a checkpoint whole or not at all; a full disk keeps the last good one."""
        folder = self.settings.out / STEP_FOLDER.format(self.step)
        self.accelerator.wait_for_everyone()
        if not self.accelerator.is_main_process or folder.exists():
            return
        partial = folder.with_name(f".{folder.name}.partial")
        try:
            partial.mkdir(exist_ok=True)
            torch.save(self.state(), partial / "trainer.pt")
            os.replace(partial, folder)
        except (OSError, RuntimeError) as problem:
            shutil.rmtree(partial, ignore_errors=True)
            kept = self.checkpoints()
            warnings.warn(
                f"checkpoint of step {self.step} could not be written ({problem}); "
                f"the last good one is {kept[-1] if kept else 'none'}",
                stacklevel=2,
            )
            return
        for old in self.checkpoints()[: -self.settings.keep]:
            shutil.rmtree(old)

    def state(self) -> dict[str, Any]:
        """Return all that the next step depends on."""
        return {
            "model": self.accelerator.unwrap_model(self.model).state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "settings": dict(self.resolved),
        }

    def resume(self) -> None:
        """Go on from the newest checkpoint, if there is one."""
        kept = self.checkpoints()
        if not kept:
            return
        state = torch.load(kept[-1] / "trainer.pt", map_location="cpu", weights_only=True)
        self.accelerator.unwrap_model(self.model).load_state_dict(state["model"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]

    def export(self) -> None:
        """Write the averaged weights in the form the pipeline reads, under `out/export`."""
        if self.accelerator.is_main_process:
            model = self.average if self.settings.ema else self.accelerator.unwrap_model(self.model)
            self.task.export(model, self.settings.out / "export")

    def open_log(self) -> None:
        """Start the TensorBoard curves, where TensorBoard is installed."""
        if not self.accelerator.is_main_process:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self.writer = SummaryWriter(str(self.settings.out / "curves"), purge_step=self.step)

    def log(
        self,
        figures: list[dict[str, float]],
        samples_per_second: float,
        report: Report | None,
    ) -> None:
        """Write the mean of the last figures to TensorBoard and to `report`."""
        mean = {k: float(np.mean([f[k] for f in figures if k in f])) for k in figures[-1]}
        mean["samples_per_second"] = samples_per_second
        for name, value in mean.items():
            if self.writer is not None:
                self.writer.add_scalar(name, value, self.step)
        if report is not None and self.accelerator.is_main_process:
            report(self.step, mean)
