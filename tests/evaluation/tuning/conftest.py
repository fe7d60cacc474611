"""Settings of a table that the tiny pipeline draws in a second, and what it draws from."""

from __future__ import annotations

import pytest

from facestudio.evaluation.tuning import runs
from facestudio.evaluation.tuning.settings import PriorSettings, TableSettings, TunedSettings
from tests.evaluation.conftest import ColourEncoder, SizedDetector, write_people
from tests.pipeline.conftest import encoder, picture, pipe, seeing
from tests.pipeline.test_face_map import mapped

__all__ = ["encoder", "mapped", "picture", "pipe", "seeing"]  # fixtures of the pipeline's tests


@pytest.fixture
def judged_by_colour(monkeypatch) -> None:
    """Stand-ins for the files that are not shipped: the detector's and the recogniser's."""
    judges = "facestudio.evaluation.judges"
    monkeypatch.setattr(f"{judges}.load_detector", lambda spec: SizedDetector())
    monkeypatch.setattr(f"{judges}.OnnxEncoder", lambda path, value_range: ColourEncoder())


@pytest.fixture
def table_settings(tmp_path) -> TableSettings:
    (tmp_path / "recogniser.onnx").touch()
    return TableSettings(
        people=write_people(tmp_path / "people.tar", 10, photos=3),
        out=tmp_path / "out",
        references=(1,),
        n_tuning=2,
        n_people=2,
        prompt="a man smiling",  # words that the tiny tokenizer knows
        inversion=TunedSettings((0.1,), (1, 2)),
        dreambooth=TunedSettings((1e-3,), (1, 2), batch=1),
        prior=PriorSettings(pictures=1),
        recogniser=tmp_path / "recogniser.onnx",
        min_face_px=4,
        num_inference_steps=1,
    )


@pytest.fixture
def base(table_settings, pipe):
    table_settings.out.mkdir()
    return runs.make_base(table_settings, pipe, {"num_inference_steps": 2})
