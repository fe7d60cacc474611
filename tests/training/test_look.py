"""Training what knows the look of a style picture."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from facestudio.data.shards import write_json, write_shard
from facestudio.encoders.looks import LookReader
from facestudio.errors import BadOption
from facestudio.training import look
from facestudio.training.loop import LoopSettings
from tests.training.conftest import STYLE_DIM, make_sample

LOOKS = {"photo": ("photo",), "paint": ("oil",)}


def picture_of(seed: int, mottle: float) -> bytes:
    """A plain colour with mottle of so many levels."""
    rng = np.random.default_rng(seed)
    flat = np.full((32, 32, 3), rng.integers(60, 190, 3)) + rng.normal(0, mottle, (32, 32, 1))
    file = io.BytesIO()
    Image.fromarray(flat.clip(0, 255).astype(np.uint8)).save(file, "png")
    return file.getvalue()


@pytest.fixture
def settings(tmp_path) -> look.Settings:
    """Smooth photos, mottled paintings, caricatures in between; person 5 is held out."""
    samples = []
    for person in range(6):
        shared = {"person": f"p{person}", "split": "test" if person == 5 else "train"}
        for name, mottle, said in (
            ("photo", 2, {}),
            ("oil", 40, {"kind": "drawn", "style": "oil"}),
            ("caricature", 15, {"kind": "drawn", "style": "caricature"}),
        ):
            seed = 10 * person + mottle
            sample = make_sample(f"p{person}_{name}", seed, captions=["a person"], **shared, **said)
            samples.append(replace(sample, picture=picture_of(seed, mottle)))
    samples.append(make_sample("s0", 90, seen=False, captions=["a red ball"]))
    folder = tmp_path / "set"
    folder.mkdir()
    write_json(folder / "dataset.json", {"format": 1})
    write_shard(folder, "000-00000", samples)
    loop = LoopSettings(out=tmp_path / "run", steps=2, batch=6, lr=2e-3, warmup=1, log_every=1)
    return look.Settings((folder,), loop, LOOKS, softened=(0.01, 0.02), grain=0.0)


def test_looks_come_up_alike_and_nobody_held_out(settings, rng):
    task = look.LookTask(settings)
    told = task.batch(rng, 300)
    assert told["pixels"].shape == (300, 3, 32, 32)
    counts = torch.bincount(told["look"], minlength=3)
    assert counts.min() > 70
    assert sorted(len(rows) for rows in task.groups) == [5, 5, 5]


def test_a_look_is_learnt_by_its_texture(settings, rng):
    task = look.LookTask(settings)
    steps, figures = torch.optim.Adam(task.model.parameters(), 1e-2), []
    for _ in range(80):
        loss, told = task.loss(task.model, task.batch(rng, 24))
        steps.zero_grad()
        loss.backward()
        steps.step()
        figures.append(told["right"])
    assert np.mean(figures[-10:]) > 0.9 > np.mean(figures[:3])


def test_means_and_colours_are_fitted_before_the_first_step(settings):
    task = look.LookTask(settings)
    styles = task.data.arrays["style"].astype(np.float32)
    wanted = styles[task.look == 1].mean(0)
    np.testing.assert_allclose(task.model.means[1].numpy(), wanted, atol=1e-3)
    assert task.model.means.shape == (2, STYLE_DIM)
    spread = task.model.colours.T @ task.model.colours
    assert torch.linalg.matrix_rank(spread) == min(STYLE_DIM, 15)


def test_a_trained_reader_comes_back(settings):
    exported = look.train(settings)
    found = LookReader.from_pretrained(exported / "look_reader")
    assert (found.looks, found.pull) == (("photo", "paint"), settings.pull)
    assert found.means.abs().sum() > 0


def test_a_look_without_pictures_is_named(settings):
    with pytest.raises(BadOption, match="engraving"):
        look.LookTask(replace(settings, looks=LOOKS | {"engraving": ("engraving",)}))


@pytest.mark.parametrize(
    ("record", "number"),
    [({}, 0), ({"style": "oil"}, 1), ({"style": "anime"}, 2), ({"has_face": False}, -1),
     ({"has_face": False, "style": "sketch"}, 2)],
)  # fmt: skip
def test_what_a_record_says_of_its_look(record, number):
    assert look.number_of(record, LOOKS) == number
