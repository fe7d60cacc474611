"""The loop: exact resume, stops, checkpoints that survive, curves, refusals."""

import math
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from facestudio.errors import BadOption
from facestudio.training import checkpoints as module
from facestudio.training.loop import LoopSettings, Trainer


class LineTask:
    """Fit y = 2x + 1 from noisy points."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(1, 4), nn.Dropout(0.1), nn.Linear(4, 1))
        self.seen: list[float] = []

    def batch(self, rng, size):
        x = torch.from_numpy(rng.standard_normal((size, 1)).astype(np.float32))
        self.seen.append(float(x[0]))
        return {"x": x, "y": 2 * x + 1}

    def loss(self, model, batch):
        return (model(batch["x"]) - batch["y"]).square().mean(), {
            "mean_x": float(batch["x"].mean())
        }

    def samples(self, model):
        return np.zeros((4, 4, 3), np.uint8)

    def export(self, model, folder):
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), folder / "line.pt")


@pytest.fixture
def settings(tmp_path) -> LoopSettings:
    return LoopSettings(
        out=tmp_path / "run", steps=12, batch=4, lr=1e-2, warmup=2, save_every=4, log_every=4
    )


def train(settings: LoopSettings) -> tuple[LineTask, Trainer]:
    task = LineTask()
    trainer = Trainer(task, settings, {"loop": {"lr": settings.lr}})
    trainer.train()
    return task, trainer


def stop_after(trainer: Trainer, steps: int, error: type[BaseException]) -> None:
    """Let the trainer's next step after `steps` raise `error`."""
    real = trainer.advance

    def advance():
        if trainer.step == steps:
            raise error
        return real()

    trainer.advance = advance


def weights_of(trainer: Trainer) -> list[torch.Tensor]:
    both = (trainer.plain_model, trainer.average)
    return [p.detach().clone() for model in both for p in model.state_dict().values()]


def test_killed_and_resumed_equals_never_killed(settings):
    _, whole = train(settings)
    cut = replace(settings, out=settings.out.with_name("cut"))
    task = LineTask()
    first = Trainer(task, cut, {})
    stop_after(first, 6, MemoryError)  # the last checkpoint is of step 4
    with pytest.raises(MemoryError):
        first.train()
    _, second = train(cut)
    for a, b in zip(weights_of(whole), weights_of(second), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_finishes_the_step_and_keeps_it(settings, number):
    task = LineTask()
    trainer = Trainer(task, settings, {})
    real = task.batch

    def batch(rng, size):
        if trainer.step == 5:
            os.kill(os.getpid(), number)
        return real(rng, size)

    task.batch = batch
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert trainer.checkpoints.complete()[-1].name == "step-0000006"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_stops_at_once(settings):
    task = LineTask()
    trainer = Trainer(task, settings, {})

    def batch(rng, size):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("the second signal was not heard")

    task.batch = batch
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert trainer.checkpoints.complete() == []


def test_training_learns_and_exports_the_average(settings):
    _, trainer = train(replace(settings, steps=300, lr=5e-2, ema=0.9))
    exported = torch.load(settings.out / "export" / "line.pt", weights_only=True)
    average = trainer.average.state_dict()
    assert all(torch.equal(exported[name], average[name]) for name in average)
    x = torch.tensor([[0.0], [1.0]])
    with trainer.average.applied(trainer.plain_model) as model:
        assert torch.allclose(model(x), 2 * x + 1, atol=0.3)


def test_without_average_the_trained_weights_are_exported(settings):
    _, trainer = train(replace(settings, ema=0.0))
    model = trainer.plain_model.state_dict()
    exported = torch.load(settings.out / "export" / "line.pt", weights_only=True)
    assert all(torch.equal(exported[name], model[name]) for name in model)


def test_accumulation_sees_as_many_samples(settings):
    task, _ = train(replace(settings, steps=2, accumulation=2))
    assert len(task.seen) == 4


def test_only_the_last_checkpoints_are_kept(settings):
    _, trainer = train(settings)
    assert [path.name for path in trainer.checkpoints.complete()] == [
        "step-0000008",
        "step-0000012",
    ]


def test_full_disk_keeps_the_last_good_checkpoint(settings, monkeypatch):
    _, trainer = train(settings)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.torch, "save", full)
    trainer.step = 13
    with pytest.warns(UserWarning, match=r"step 13 could not be written.*step-0000012"):
        trainer.save()
    assert trainer.checkpoints.complete()[-1].name == "step-0000012"
    assert not list(settings.out.glob(".*.partial"))


def test_a_half_written_checkpoint_is_not_resumed(settings):
    _, trainer = train(settings)
    (settings.out / "step-0000099").mkdir()
    assert trainer.checkpoints.complete()[-1].name == "step-0000012"


def test_a_checkpoint_of_another_optimizer_is_refused(settings):
    train(settings)
    with pytest.raises(BadOption, match="written by other settings"):
        train(replace(settings, optimizer="adafactor", steps=20))


def test_report_gets_means_and_speed(settings):
    told = []
    Trainer(LineTask(), settings, {}).train(lambda step, figures: told.append((step, figures)))
    assert [step for step, _ in told] == [4, 8, 12]
    figures = told[0][1]
    assert {"loss", "lr", "grad_norm", "mean_x", "samples_per_second"} <= set(figures)
    assert all(math.isfinite(value) for value in figures.values())


def test_curves_and_samples_reach_tensorboard(settings):
    pytest.importorskip("tensorboard", reason="needs the extra facestudio[train]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(replace(settings, sample_every=6))
    events = EventAccumulator(str(settings.out / "curves"), size_guidance={"images": 0})
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [4, 8, 12]
    assert [event.step for event in events.Images("samples")] == [6, 12]


def test_batch_that_does_not_divide_is_refused(settings):
    with pytest.raises(BadOption, match="must divide"):
        Trainer(LineTask(), replace(settings, accumulation=3), {})


def test_bf16_trains_with_weights_kept_in_full(settings):
    _, trainer = train(replace(settings, precision="bf16", save_every=0))
    weights = trainer.plain_model.state_dict().values()
    assert all(weight.dtype == torch.float32 and weight.isfinite().all() for weight in weights)
