"""Settings: what is read, what is refused, and that writing and reading agree."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facestudio.errors import BadOption, MissingFile
from facestudio.settings import from_dict, load_settings, to_dict, to_toml


@dataclass(frozen=True)
class Tower:
    kind: Literal["vit", "resnet"]
    dim: int = 4


@dataclass(frozen=True)
class Model:
    depth: int = 2
    widths: tuple[int, ...] = (8, 16)
    eye_x: tuple[float, float] = (0.4, 0.6)
    towers: tuple[Tower, ...] = ()


@dataclass(frozen=True)
class Settings:
    name: str = "run"
    rate: float = 1e-6
    ema: bool = True
    folder: Path = Path("out")
    seed: int | None = 7
    alpha: float | Literal["auto"] = "auto"
    model: Model = field(default_factory=Model)
    weights: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Checked:
    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError("steps must be over 0")


def test_an_empty_table_gives_the_defaults():
    assert from_dict(Settings, {}) == Settings()


def test_values_take_their_annotated_types():
    data = {
        "rate": 1,
        "folder": "a/b",
        "seed": None,
        "alpha": 0.5,
        "model": {"widths": [1, 2, 3], "towers": [{"kind": "vit"}, {"kind": "resnet", "dim": 9}]},
        "weights": {"celeba": 2},
    }
    settings = from_dict(Settings, data)
    assert isinstance(settings.rate, float)
    assert settings.folder == Path("a/b")
    assert settings.seed is None
    assert settings.model.widths == (1, 2, 3)
    assert settings.model.towers == (Tower("vit"), Tower("resnet", 9))
    assert settings.weights == {"celeba": 2.0}


def test_an_instance_stands_for_its_table():
    assert from_dict(Settings, {"model": Model(depth=5)}).model.depth == 5


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"raet": 1.0}, ["raet", "nearest is rate"]),
        ({"model": {"dpth": 1}}, ["model.dpth", "nearest is model.depth"]),
        ({"rate": "fast"}, ["rate", "'fast'", "float"]),
        ({"ema": 1}, ["ema", "bool"]),
        ({"seed": True}, ["seed", "int"]),
        ({"seed": 1.5}, ["seed", "int"]),
        ({"model": 3}, ["model", "table"]),
        ({"model": {"widths": 3}}, ["model.widths"]),
        ({"model": {"widths": [1, "x"]}}, ["model.widths[1]", "int"]),
        ({"model": {"eye_x": [0.1]}}, ["model.eye_x", "1 values", "2"]),
        ({"model": {"towers": [{"kind": "mlp"}]}}, ["model.towers[0].kind", "'vit'", "'resnet'"]),
        ({"model": {"towers": [{}]}}, ["model.towers[0].kind", "missing"]),
        ({"alpha": "most"}, ["alpha", "'most'"]),
        ({"weights": {"a": "b"}}, ["weights.a", "float"]),
    ],
)
def test_refusals_name_the_setting_and_what_is_wanted(data, words):
    with pytest.raises(BadOption) as caught:
        from_dict(Settings, data)
    for word in words:
        assert word in str(caught.value)


def test_where_comes_first_in_errors():
    with pytest.raises(BadOption, match=r"unknown setting unet\.dpth"):
        from_dict(Model, {"dpth": 1}, "unet")


def test_a_class_own_check_becomes_bad_option():
    with pytest.raises(BadOption, match="steps must be over 0"):
        from_dict(Checked, {"steps": 0})


def test_a_file_and_overrides(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('name = "a"\n[model]\ndepth = 3\n', "utf-8")
    settings = load_settings(
        Settings, path, ["model.depth=4", "model.widths=[1, 2]", "name=b c", "seed=none"]
    )
    assert settings == Settings(name="b c", seed=None, model=Model(depth=4, widths=(1, 2)))


def test_overrides_alone():
    assert load_settings(Settings, None, ["weights.celeba=0.5"]).weights == {"celeba": 0.5}


@pytest.mark.parametrize("override", ["depth", "=3", "model.=3", "name.x=1"])
def test_bad_overrides(tmp_path, override):
    path = tmp_path / "run.toml"
    path.write_text('name = "a"\n', "utf-8")
    with pytest.raises(BadOption):
        load_settings(Settings, path, [override])


def test_an_override_cannot_smuggle_in_a_second_key():
    settings = load_settings(Settings, None, ["name=1\nrate = 3"])
    assert settings == Settings(name="1\nrate = 3")


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(MissingFile, match=r"none\.toml"):
        load_settings(Settings, tmp_path / "none.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("a = = 1", "utf-8")
    with pytest.raises(BadOption, match=r"broken\.toml is not valid TOML"):
        load_settings(Settings, broken)
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadOption):
        load_settings(Settings, broken)


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
towers = st.builds(Tower, st.sampled_from(["vit", "resnet"]), st.integers(-(2**60), 2**60))
numbers = st.floats(allow_nan=False)
all_settings = st.builds(
    Settings,
    name=text.filter(lambda name: name != "none"),
    rate=numbers,
    ema=st.booleans(),
    folder=st.sampled_from([Path("x"), Path("/a/ b/c")]),
    seed=st.none() | st.integers(0, 2**32),
    alpha=numbers | st.just("auto"),
    model=st.builds(
        Model,
        widths=st.lists(st.integers(0, 9)).map(tuple),
        eye_x=st.tuples(numbers, numbers),
        towers=st.lists(towers, max_size=3).map(tuple),
    ),
    weights=st.dictionaries(text, numbers, max_size=3),
)


@given(all_settings)
def test_toml_and_plain_values_round_trip(tmp_path_factory, settings):
    path = tmp_path_factory.mktemp("settings") / "run.toml"
    path.write_bytes(to_toml(settings).encode())
    assert load_settings(Settings, path) == settings
    assert from_dict(Settings, to_dict(settings)) == settings


def test_not_a_number_round_trips():
    text_form = to_toml(Settings(rate=math.nan, model=Model(eye_x=(math.inf, -math.inf))))
    assert "rate = nan" in text_form
    assert "eye_x = [inf, -inf]" in text_form
