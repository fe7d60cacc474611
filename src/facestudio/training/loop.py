"""The one training loop: what a task is, how it is stepped, kept, resumed and shown.

A batch and the learning rate are functions of the step alone, so a run killed at any step and
started again continues exactly. Accelerate places the model and averages gradients over processes:
by itself, or by FSDP or DeepSpeed where `accelerate launch` is told so.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from accelerate import Accelerator, DistributedType
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from facestudio.errors import BadOption
from facestudio.training.average import MovingAverage
from facestudio.training.batches import BatchPart, batch_rng, part_of
from facestudio.training.checkpoints import Checkpoints
from facestudio.training.convolutions import FastConvolutions
from facestudio.training.float_attention import FloatAttention
from facestudio.training.optimizers import PACE, OptimizerName, learning_rate, make_optimizer
from facestudio.training.stopping import Stop

Report = Callable[[int, dict[str, float]], None]
"""Called now and then with the step and the mean of the last figures."""


@dataclass(frozen=True)
class LoopSettings:
    """How long, how fast and how safely a task is trained; read from the table `[loop]`."""

    out: Path  # folder of checkpoints, curves and the exported part
    steps: int = 1000
    batch: int = 32  # global: shared by all processes
    accumulation: int = 1  # micro-batches a step
    optimizer: OptimizerName = "adamw"
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
    fast_convolutions: bool = True  # on a CPU; else as torch computes them
    resume: bool = True


class Task(Protocol):
    """What a trainer brings to the loop."""

    @property
    def model(self) -> nn.Module:
        """What is trained."""

    def batch(self, rng: np.random.Generator, size: int) -> dict[str, Tensor]:
        """Return the tensors of one batch of `size` samples, the samples along dimension 0.

        What the loss draws for a sample (times, noise) is here too, so that it does not depend on
        the number of processes.
        """

    def loss(
        self, model: nn.Module, batch: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the mean loss of the samples and figures to log."""

    def samples(self, model: nn.Module) -> np.ndarray | None:
        """Return a sheet of samples (H, W, 3) uint8, or None."""

    def export(self, model: nn.Module, folder: Path) -> None:
        """Write the trained part in the form the pipeline reads."""


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
        _check_launch(settings, self.accelerator)
        optimizer = make_optimizer(task.model, settings)
        self.blank: nn.Module | None = None
        if self.accelerator.is_fsdp2:
            self.blank = copy.deepcopy(task.model).to("meta")  # the form alone
        self.model, self.optimizer = self.accelerator.prepare(task.model, optimizer)
        self.average = MovingAverage(self.plain_model, settings.ema)
        self.checkpoints = Checkpoints(
            settings.out,
            settings.keep,
            self.accelerator,
            self.model,
            self.optimizer,
            self.average,
            sharded=self.blank is not None,
        )
        self.convolutions = FastConvolutions()
        self.step = 0
        self.writer: Any = None

    @property
    def plain_model(self) -> nn.Module:
        """The model without accelerate's wrapping."""
        unwrapped: nn.Module = self.accelerator.unwrap_model(self.model)
        return unwrapped

    def train(self, report: Report | None = None) -> None:
        """Train to the last step, saving on the way and where a stop was asked for.

        Raises KeyboardInterrupt after such a stop.
        """
        self.settings.out.mkdir(parents=True, exist_ok=True)
        if self.settings.resume:
            self.step = self.checkpoints.load_newest()
        stop = Stop(impatient=self.accelerator.num_processes == 1)
        with stop.listening(), self.open_log():
            self.run(stop, report)
        self.save()
        self.export()

    def run(self, stop: Stop, report: Report | None) -> None:
        """Step, log and save until the last step, or until any process is asked to stop."""
        figures: list[dict[str, float]] = []
        started, first = time.perf_counter(), self.step
        while self.step < self.settings.steps:
            figures.append(self.advance())
            if self.step % self.settings.log_every == 0:
                seconds = time.perf_counter() - started
                self.log(figures, (self.step - first) * self.settings.batch / seconds, report)
                figures = []
            self.keep_on_the_way()
            if self.mean_over_processes(float(stop.asked)):
                self.save()
                raise KeyboardInterrupt

    def advance(self) -> dict[str, float]:
        """Take one optimizer step; return its figures."""
        rate = learning_rate(self.step, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get(PACE, 1.0)
        self.model.train()
        last = self.settings.accumulation - 1
        figures: dict[str, float] = {}
        loss = 0.0
        for micro in range(last + 1):
            with nullcontext() if micro == last else self.accelerator.no_sync(self.model):
                share, figures = self.learn(micro)
            loss += share
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.settings.grad_clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.average.update(self.plain_model, self.step)
        loss = self.mean_over_processes(loss)
        return {"loss": loss, "grad_norm": float(norm), "lr": rate, **figures}

    def learn(self, micro: int) -> tuple[float, dict[str, float]]:
        """Add a micro-batch's gradients; return its share of the step's loss, and its figures."""
        part = self.draw(micro)
        with self.accelerator.autocast(), self.forms_on_cpu():
            loss, figures = self.task.loss(self.model, part.tensors)
        share = loss * (part.weight / self.settings.accumulation)
        self.accelerator.backward(share)
        return float(share.detach()), figures

    @contextmanager
    def forms_on_cpu(self) -> Iterator[None]:
        """Let layers on a CPU compute in their faster forms for as long as the block lasts.

        Attention does so under bf16; convolutions unless the weights are sharded, whose frozen
        ones have no place to be laid out in.
        """
        with ExitStack() as forms:
            if self.accelerator.device.type == "cpu":
                if self.settings.precision == "bf16":
                    forms.enter_context(FloatAttention())
                if self.settings.fast_convolutions and self.blank is None:
                    forms.enter_context(self.convolutions)
            yield

    def draw(self, micro: int) -> BatchPart:
        """Return this process's part of a micro-batch, on its device."""
        process, processes = self.accelerator.process_index, self.accelerator.num_processes
        rng = batch_rng(self.settings.seed, self.step, micro)
        torch.manual_seed(seed := int(rng.integers(2**62)))
        whole = self.task.batch(rng, self.settings.batch // self.settings.accumulation)
        part = part_of(whole, process, processes)
        if process:  # dropout differs between processes
            torch.manual_seed(seed + process)
        placed = {name: rows.to(self.accelerator.device) for name, rows in part.tensors.items()}
        return BatchPart(placed, part.weight)

    def mean_over_processes(self, value: float) -> float:
        """Return the mean of a number over all processes; waits for them."""
        if self.accelerator.num_processes == 1:
            return value
        mine = torch.tensor(value, device=self.accelerator.device)
        return float(self.accelerator.reduce(mine, "mean"))

    def keep_on_the_way(self) -> None:
        """Save and draw samples where the settings say so."""
        settings = self.settings
        if settings.save_every and self.step % settings.save_every == 0:
            self.save()
        if settings.sample_every and self.step % settings.sample_every == 0:
            self.show_samples()

    def show_samples(self) -> None:
        """Draw a sheet with the averaged weights, on the main process; none where it is sharded."""
        if self.blank is not None or not self.accelerator.is_main_process:
            return
        with self.average.applied(self.plain_model) as model:
            sheet = self.task.samples(model)
        if sheet is not None and self.writer is not None:
            self.writer.add_image("samples", sheet, self.step, dataformats="HWC")

    def save(self) -> None:
        """Write a checkpoint of this step, if there is none yet."""
        self.checkpoints.save(self.step, self.resolved)

    def export(self) -> None:
        """Write the averaged weights in the form the pipeline reads, under `out/export`."""
        with self.average.applied(self.plain_model) as model:
            whole = model if self.blank is None else self.gather_into(self.blank)
            if self.accelerator.is_main_process:
                self.task.export(whole, self.settings.out / "export")

    def gather_into(self, blank: nn.Module) -> nn.Module:
        """Give `blank` the sharded model's whole weights, on the main process alone."""
        whole = StateDictOptions(full_state_dict=True, cpu_offload=True)
        state = get_model_state_dict(self.model, options=whole)
        if self.accelerator.is_main_process:
            blank.load_state_dict(state, assign=True)
        return blank

    @contextmanager
    def open_log(self) -> Iterator[None]:
        """TensorBoard's curves for as long as the block lasts, where TensorBoard is installed."""
        self.writer = self._make_writer() if self.accelerator.is_main_process else None
        try:
            yield
        finally:
            if self.writer is not None:
                self.writer.close()

    def _make_writer(self) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return None
        return SummaryWriter(str(self.settings.out / "curves"), purge_step=self.step)

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


def _check_launch(settings: LoopSettings, accelerator: Accelerator) -> None:
    processes = accelerator.num_processes
    if settings.batch % (processes * settings.accumulation):
        raise BadOption(
            f"loop.batch is {settings.batch}; it must divide by {processes} processes × "
            f"{settings.accumulation} accumulation"
        )
    kind = accelerator.distributed_type
    sharded = kind in (DistributedType.FSDP, DistributedType.DEEPSPEED, DistributedType.MEGATRON_LM)
    if sharded and not accelerator.is_fsdp2:
        raise BadOption(
            f"accelerate was told to shard by {kind.value}; the loop knows FSDP, version 2",
            hint="accelerate launch --config_file configs/accelerate/fsdp.yaml",
        )
