"""What the benchmark against diffusers makes of its figures."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.peers import choose_dtype, choose_environment, psnr, summarise


@pytest.mark.parametrize(
    ("bf16", "asked", "chosen"),
    [
        (2.0, "auto", "bfloat16"),
        (1.05, "auto", "float32"),
        (0.2, "auto", "float32"),
        (0.2, "bfloat16", "bfloat16"),
    ],
)
def test_the_dtype_is_the_faster_one_of_this_machine(bf16, asked, chosen):
    peaks = {"float32": 100e9, "bfloat16": bf16 * 100e9}
    dtype, why = choose_dtype(peaks, asked)
    assert dtype == chosen
    assert "float32 100 GFLOP/s" in why
    assert ("no fast bf16" in why) == (asked == "auto" and chosen == "float32")


def test_both_sides_run_compiled_and_ours_starts_with_lazy_imports(monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("FACESTUDIO_LAZY_IMPORTS", raising=False)
    ours, theirs = map(choose_environment, ("cold-ours", "cold-theirs"))
    assert "PYTHONDONTWRITEBYTECODE" not in ours
    assert ours == theirs | {"FACESTUDIO_LAZY_IMPORTS": "1"}


def test_ratios_say_how_much_better_ours_is():
    ours = {
        "seconds": {
            "exact": [5.0, 4.0, 90.0],
            "fast": [2.0],
            "draft": [1.0],
            "people 1": [4.0],
            "people 2": [5.0, 4.5, 5.5],
            "people 3": [5.2],
        },
        "peak_memory_mb": 50.0,
        "cold_start_s": 3.0,
        "unet_call_s": 2.0,
        "unet_flop": 60,
        "matrix_peak": 40.0,
    }
    theirs = {
        "seconds": {"exact": [10.0]},
        "peak_memory_mb": 100.0,
        "cold_start_s": 6.0,
        "unet_call_s": 4.0,
        "unet_flop": 80,
        "matrix_peak": 40.0,
    }
    grey = np.full((2, 2, 3), 0.5)
    pictures = {"ours_exact": grey, "theirs_exact": grey}
    pictures |= {"ours_fast": grey + 0.01, "ours_draft": grey + 0.1}
    found = summarise(ours, theirs, pictures)
    assert found["exact_speedup"] == 2.0
    assert found["bounded_speedup"] == 5.0
    assert found["bounded"] == "fast"  # draft is at 20 dB
    assert found["bounded_psnr"] == pytest.approx(40.0)
    assert found["speedups"] == {"exact": 2.0, "fast": 5.0, "draft": 10.0}
    assert found["psnrs"]["draft"] == pytest.approx(20.0)
    assert found["exact_psnr"] == pytest.approx(200.0)
    assert (found["peak_memory_ratio"], found["cold_start_ratio"]) == (0.5, 0.5)
    assert found["start_up_ratio"] == 0.5  # 1 of 2 seconds beside the step's own
    assert found["matrix_peak_fraction"] == 0.75
    assert found["matrix_peak_fraction_theirs"] == 0.5
    assert found["extra_person_cost"] == pytest.approx([0.25, 0.05])  # of one: 4 s, then 5 s, 5.2 s


def test_psnr_of_a_tenth_is_twenty_decibels():
    assert psnr(np.zeros((2, 2)), np.full((2, 2), 0.1)) == pytest.approx(20.0)
