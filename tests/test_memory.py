"""What the benchmark of memory measures, on a tiny model."""

from __future__ import annotations

import json
import sys

import pytest

from benchmarks import memory, peers_side
from benchmarks.memory import LEVERS, Use, measure

OPTIONS = {"shape": "tiny", "px": 64, "steps": 1, "people": 1, "dtype": "bfloat16"}
TINY = {"tiles": (Use(px=64, decodes=True), Use(px=64, decodes=True, tiles=True))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What `benchmarks.peers --stage files` leaves."""
    root = tmp_path_factory.mktemp("peers")
    peers_side.make_files(root, OPTIONS)
    return root


def test_every_lever_is_measured_without_it_and_with_it():
    for without, lever in LEVERS.values():
        assert without != lever
        assert without.px == lever.px


@pytest.mark.parametrize("use", [Use(px=64), TINY["tiles"][1]])
def test_a_process_says_what_lay_in_its_memory(folder, use):
    assert 100 < measure(folder, use) < 100_000


def test_the_figures_of_a_lever_are_written(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "LEVERS", TINY)
    out = tmp_path / "memory.json"
    monkeypatch.setattr(sys, "argv", ["memory", "--scratch", str(folder), "--out", str(out)])
    memory.main()
    without, lever = json.loads(out.read_text())["megabytes"]["tiles"]
    assert min(without, lever) > 100


def test_an_unknown_lever_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["memory", "tile"])
    with pytest.raises(SystemExit):
        memory.main()
    assert "there are half-width, tiles" in capsys.readouterr().err
