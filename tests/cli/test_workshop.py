"""`prepare`, `train`, `evaluate`, `calibrate`: thin doors before work that other tests cover."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from facestudio import evaluation
from facestudio.data import prepare as preparing
from facestudio.data import shards
from facestudio.evaluation import classifiers
from facestudio.training import codec as training

TRAIN = 'data = ["set"]\n[loop]\nout = "run"\nsteps = 5\n'


@dataclass(frozen=True)
class Loop:
    """The few settings of the loop that the door looks at."""

    out: Path
    steps: int = 5
    resume: bool = True


@dataclass(frozen=True)
class Settings:
    """Stands for a trainer's settings."""

    loop: Loop
    data: tuple[Path, ...] = ()


@pytest.fixture
def config(at_home) -> Path:
    path = Path("train.toml")
    path.write_text(TRAIN)
    return path


@pytest.fixture
def trained(monkeypatch) -> list:
    """The settings that training was called with; it reports once and exports."""
    seen = []

    def train(settings, report):
        seen.append(settings)
        report(5, {"loss": 0.25})
        return settings.loop.out / "export"

    monkeypatch.setattr(training, "Settings", Settings)
    monkeypatch.setattr(training, "train", train)
    return seen


def test_training_gets_the_settings_and_tells_its_steps(cli, config, trained):
    done = cli("train", "codec", config, "-s", "loop.steps=7")
    assert done.code == 0
    assert trained == [Settings(Loop(Path("run"), steps=7), (Path("set"),))]
    assert "step 5: loss 0.25" in done.err
    assert "run/export" in done.out


def test_training_in_json(cli, config, trained):
    answer = cli("train", "codec", config, "--json").json
    assert answer["ok"] is True
    assert answer["exported"] == "run/export"
    assert answer["seconds"] >= 0


@pytest.mark.parametrize(
    ("words", "resume"), [([], True), (["--no-resume"], False), (["--resume"], True)]
)
def test_resuming(cli, config, trained, words, resume):
    assert cli("train", "codec", config, *words).code == 0
    assert trained[0].loop.resume is resume


def test_dry_run_prints_what_would_be_used(cli, config, trained):
    printed = cli("train", "codec", config, "--dry-run", "-s", "loop.steps=9").out
    assert trained == []
    Path("again.toml").write_text(printed)
    assert cli("train", "codec", "again.toml", "--dry-run").out == printed
    assert (
        cli("train", "codec", config, "--dry-run", "--json").json["settings"]["loop"]["steps"] == 5
    )


@pytest.mark.parametrize("part", ["unet", "towers", "prior", "codec", "encoder", "classifiers"])
def test_each_part_knows_its_settings(cli, part, at_home):
    Path("bad.toml").write_text("nonsense = 1\n")
    answer = cli("train", part, "bad.toml", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (2, "bad_option")
    assert "nonsense" in answer.json["error"]["message"]


def test_unknown_settings_name_the_nearest(cli, config, trained):
    answer = cli("train", "codec", config, "-s", "loop.stepps=3", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (2, "bad_option")
    assert "loop.steps" in answer.json["error"]["hint"]


@pytest.mark.parametrize("command", [["train", "codec"], ["prepare"], ["evaluate"]])
def test_missing_settings_file(cli, command):
    answer = cli(*command, "no.toml", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (3, "missing_file")


@pytest.mark.parametrize(
    ("checkpoint", "told"),
    [(True, "kept: run/step-0000003"), (False, "no checkpoint")],
)
def test_stopped_training_says_what_is_kept(cli, config, trained, monkeypatch, checkpoint, told):
    def stop(settings, report):
        if checkpoint:
            Path("run/step-0000003").mkdir(parents=True)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train", stop)
    done = cli("train", "codec", config)
    assert done.code == 130
    assert told in done.err


def test_fitting_classifiers(cli, monkeypatch, at_home):
    def fit(settings, on_progress):
        on_progress(1, 2)
        return SimpleNamespace(right=lambda: {"style": 0.9})

    monkeypatch.setattr(classifiers, "fit_classifiers", fit)
    Path("c.toml").write_text('data = ["set"]\nout = "c"\n[styles]\nphoto = ["photo"]\n')
    answer = cli("train", "classifiers", "c.toml", "--json").json
    assert (answer["style"], answer["out"]) == (0.9, "c")
    assert 'photo = ["photo"]' in cli("train", "classifiers", "c.toml", "--dry-run").out


def test_preparing(cli, monkeypatch, at_home):
    @dataclass(frozen=True)
    class PrepareSettings:
        out: Path

    def prepare(settings, *, progress):
        assert progress is False
        return SimpleNamespace(
            samples=3, with_person=2, shards=1, skipped_shards=0, counts=lambda: {"no_face": 4}
        )

    monkeypatch.setattr(preparing, "PrepareSettings", PrepareSettings)
    monkeypatch.setattr(preparing, "prepare", prepare)
    Path("set.toml").write_text('out = "set"\n')
    answer = cli("prepare", "set.toml", "--json").json
    assert (answer["samples"], answer["out"], answer["left_out"]) == (3, "set", {"no_face": 4})
    assert "samples" in cli("prepare", "set.toml").out


def test_preparing_by_another_engine(cli, at_home):
    config = 'out = "set"\n[develop]\n[[sources]]\npath = "photos"\n'
    Path("set.toml").write_text(config)
    assert 'engine = "ray"' in cli("prepare", "set.toml", "--engine", "ray", "--dry-run").out
    refused = cli("prepare", "set.toml", "--engine", "spark", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (2, "bad_option")
    assert "spark" in refused.json["error"]["message"]


def test_evaluating(cli, monkeypatch, at_home):
    def evaluate(settings, on_progress):
        on_progress(1, 2)
        return SimpleNamespace(to_dict=lambda: {"likeness": 0.5}, to_markdown=lambda: "| 0.5 |")

    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    Path("e.toml").write_text('people = "people"\nout = "report"\n')
    assert cli("evaluate", "e.toml", "--json").json["report"] == {"likeness": 0.5}
    assert "| 0.5 |" in cli("evaluate", "e.toml").out
    assert 'people = "people"' in cli("evaluate", "e.toml", "--dry-run").out


@pytest.fixture
def encoder_folder(model, at_home) -> Path:
    from shutil import copytree

    return Path(copytree(model, "copy"))


def prepared(monkeypatch, vectors: np.ndarray, people: list) -> None:
    """Let every prepared set hold these faces."""
    records = [{"person": person} for person in people]
    samples = SimpleNamespace(arrays={"identity": vectors}, records=records)
    monkeypatch.setattr(shards, "PreparedSet", lambda folders, keys: samples)


def test_calibrating_writes_what_strangers_score(cli, encoder_folder, monkeypatch):
    dimension = json.loads((encoder_folder / "identity.json").read_text())["dimension"]
    vectors = np.random.default_rng(0).standard_normal((40, dimension)).astype(np.float32)
    vectors[-1] = 0  # nobody was found
    prepared(monkeypatch, vectors, [*(f"p{i // 2}" for i in range(38)), None, "p0"])
    answer = cli("calibrate", encoder_folder, "set", "--json").json
    assert answer["ok"] is True, answer
    assert (answer["photos"], answer["people"]) == (38, 19)
    assert abs(answer["strangers"]) < 0.1
    written = json.loads((encoder_folder / "identity.json").read_text())["calibration"]
    assert written["strangers"] == pytest.approx(answer["strangers"], abs=1e-4)
    assert cli("info", encoder_folder, "--json").json["identity"]["calibrated"] is True


def test_calibrating_with_faces_of_another_encoder(cli, encoder_folder, monkeypatch):
    prepared(monkeypatch, np.ones((4, 3), np.float32), ["a", "a", "b", "b"])
    answer = cli("calibrate", encoder_folder, "set", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (4, "encoder_mismatch")


def test_calibrating_nothing(cli, at_home):
    answer = cli("calibrate", "no-folder", "set", "--json")
    assert (answer.code, answer.json["error"]["code"]) == (4, "missing_weights")
