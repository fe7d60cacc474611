"""The settings: what they say of a run, and how they are refused."""

import pytest

from facestudio.errors import BadOption
from facestudio.pipeline.speed import BALANCED, DRAFT, EXACT, FAST, SpeedSettings, read_speed
from facestudio.settings import to_dict


def test_exact_leaves_nothing_out():
    for step in range(4):
        assert EXACT.guides(step, 4)
        assert EXACT.renews_guidance(step)
        assert not EXACT.gates(step, 4)
    assert EXACT.deep_every == 1


def test_shares_are_of_the_steps():
    speed = SpeedSettings(guidance_from=0.25, guidance_to=0.75, gate=0.5)
    assert [speed.guides(step, 4) for step in range(4)] == [False, True, True, False]
    assert [speed.gates(step, 4) for step in range(4)] == [False, False, True, True]


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("exact", EXACT),
        ("fast", FAST),
        ("balanced", BALANCED),
        ("draft", DRAFT),
        (FAST, FAST),
        (to_dict(FAST), FAST),
        ({"deep_every": 3}, SpeedSettings(deep_every=3)),
    ],
)
def test_speed_is_read_from_names_settings_and_records(given, known):
    assert read_speed(given) == known


@pytest.mark.parametrize("given", ["quick", 2, None, {"deep": 3}, {"deep_every": 1.5}])
def test_other_things_are_refused(given):
    with pytest.raises(BadOption, match="speed"):
        read_speed(given)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"gate": 1.2}, "gate=1.2: give a share"),
        ({"guidance_from": -0.1}, "guidance_from=-0.1"),
        ({"guidance_from": 0.7, "guidance_to": 0.3}, "in order"),
        ({"deep_every": 0}, "deep_every=0: give a whole number from 1"),
        ({"outer_layers": -1}, "outer_layers=-1"),
        ({"guidance_every": 0}, "guidance_every=0: give a whole number from 1"),
    ],
)
def test_impossible_settings_are_refused(options, match):
    with pytest.raises(BadOption, match=match):
        SpeedSettings(**options)
