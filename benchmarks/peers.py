"""Drawing against diffusers' StableDiffusionPipeline with IP-Adapter and IP-Adapter-FaceID.

    python -m benchmarks.peers [--shape tiny|full] [--px 512] [--steps 25] [--stage NAME]

Both sides draw the same picture from the same random weights in Stable Diffusion 1.5's shapes, in
one dtype, size, number of steps and scheduler, each in a process of its own, one after the other.
The peer is at its best: its LoRA fused, its embeddings computed before, its weights channels-last
where that is faster. The dtype is bf16 where this machine multiplies bf16 matrices faster than fp32
ones, else fp32 for both. `--clock cpu` counts the processor time of each process in place of the
wall's, for a machine that others use too; it needs one thread.

Each stage leaves its figures in --scratch; `--stage` runs one of them, on a quiet machine minutes
each; without it all that are missing run. The result is written as soon as both sides are there.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import CLOCKS, describe_machine
from facestudio.pipeline.lazy_imports import SWITCH as LAZY_IMPORTS
from facestudio.pipeline.speed import SPEEDS

STAGES = ("files", "cold-ours", "cold-theirs", "ours", "theirs")
SIDE = 2048  # of the matrices that measure the peak
GAIN = 1.1  # by which bf16 must beat fp32 to be chosen
CALL = ("shape", "px", "steps", "rounds", "people", "speeds", "clock")
NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
LIKE_EXACT = 30.0  # decibels to the exact picture that a bounded one has at least


def main() -> None:
    """Measure both sides; print and write the figures."""
    words = read_words()
    words.scratch.mkdir(parents=True, exist_ok=True)
    found = {stage: words.scratch / f"{stage}.json" for stage in STAGES}
    for stage, path in found.items():
        if words.stage == stage or (words.stage is None and not path.exists()):
            run_stage(stage, words)
    if all(path.exists() for path in found.values()):
        write_result(words, {stage: json.loads(path.read_text()) for stage, path in found.items()})


def write_result(words: argparse.Namespace, found: dict[str, dict[str, Any]]) -> None:
    """Compare what the stages found; print it and write it."""
    sides = [found[f"cold-{side}"] | found[side] for side in ("ours", "theirs")]
    pictures = {path.stem: np.load(path) for path in words.scratch.glob("*.npy")}
    result = summarise(*sides, pictures)
    result |= {
        "machine": describe_machine(),
        "call": {name: getattr(words, name) for name in CALL},
        "ours": sides[0],
        "theirs": sides[1],
    }
    words.out.parent.mkdir(parents=True, exist_ok=True)
    words.out.write_text(json.dumps(result, indent=2) + "\n")
    print_table(result)
    print(words.out)


def read_words() -> argparse.Namespace:
    """What to measure with."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=["tiny", "full"], default="full")
    parser.add_argument("--px", type=int, default=512)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--stage", choices=STAGES)
    parser.add_argument("--dtype", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--people", type=int, default=3, help="the most people in one picture")
    parser.add_argument("--speeds", nargs="+", default=["fast", "draft"], choices=[*SPEEDS])
    parser.add_argument("--clock", choices=[*CLOCKS], default="wall")
    parser.add_argument(
        "--scratch",
        type=Path,
        default=Path("benchmarks/out/peers"),
        help="where figures and weights are kept; 10 GB at full shape",
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/peers.json"))
    words = parser.parse_args()
    if words.clock == "cpu" and torch.get_num_threads() > 1:
        parser.error("--clock cpu adds up what all threads spend: set OMP_NUM_THREADS=1")
    return words


def measure_peak(dtype: torch.dtype, clock: Callable[[], float]) -> float:
    """Floating-point operations a second of a large product of matrices, the best of five."""
    a, b = (torch.randn(SIDE, SIDE).to(dtype) for _ in range(2))
    best = math.inf
    for _ in range(5):
        started = clock()
        torch.mm(a, b)
        best = min(best, clock() - started)
    return 2 * SIDE**3 / best


def choose_dtype(peaks: dict[str, float], asked: str) -> tuple[str, str]:
    """The dtype of both sides, and why."""
    measured = ", ".join(f"{name} {peak / 1e9:.0f} GFLOP/s" for name, peak in peaks.items())
    if asked != "auto":
        return asked, f"{asked} as asked for ({measured})"
    faster = peaks["bfloat16"] > GAIN * peaks["float32"]
    chosen = "bfloat16" if faster else "float32"
    found = "bf16 is the faster" if faster else "this machine has no fast bf16 arithmetic"
    return chosen, f"{chosen} for both: {found} ({measured})"


def run_stage(stage: str, words: argparse.Namespace) -> None:
    """One stage in a process of its own, which leaves STAGE.json in the scratch folder."""
    clock = CLOCKS[words.clock]
    peaks = {name: measure_peak(getattr(torch, name), clock) for name in ("float32", "bfloat16")}
    dtype, why = choose_dtype(peaks, words.dtype)
    print(f"{stage}: {why}", flush=True)
    options = {name: getattr(words, name) for name in CALL}
    options |= {"dtype": dtype, "side": stage, "peak": peaks[dtype]}
    options |= {"dtype_reason": why, "started": time.time()}
    command = [sys.executable, "-m", "benchmarks.peers_side", str(words.scratch)]
    subprocess.run([*command, json.dumps(options)], check=True, env=choose_environment(stage))


def choose_environment(stage: str) -> dict[str, str]:
    """A stage's environment. Python may keep what it compiles, as pip does of what it installs."""
    switches = {LAZY_IMPORTS: "1"} if stage == "cold-ours" else {}
    kept = {name: value for name, value in os.environ.items() if name != NO_BYTECODE}
    return kept | switches


def summarise(
    ours: dict[str, Any], theirs: dict[str, Any], pictures: dict[str, np.ndarray]
) -> dict[str, Any]:
    """The figures that are compared. Ratios of time are theirs over ours, of cost ours over theirs.

    bounded: the fastest of our speeds that is near enough to exact. start_up_ratio: of cold starts
    without a step's own time. extra_person_cost: what the second person adds to one person's time,
    what the third adds to that of two, and so on, as shares of one person's.
    """
    theirs_s = statistics.median(theirs["seconds"]["exact"])
    speeds = [name for name in ours["seconds"] if name in SPEEDS]
    mine = {name: statistics.median(seconds) for name, seconds in ours["seconds"].items()}
    people = [mine[name] for name in sorted(mine) if name.startswith("people")]
    near = {name: psnr(pictures[f"ours_{name}"], pictures["ours_exact"]) for name in speeds}
    bounded = min((n for n in near if near[n] >= LIKE_EXACT), key=mine.__getitem__, default="exact")
    return {
        "exact_speedup": theirs_s / mine["exact"],
        "exact_psnr": psnr(pictures["ours_exact"], pictures["theirs_exact"]),
        "bounded": bounded,
        "bounded_speedup": theirs_s / mine[bounded],
        "bounded_psnr": psnr(pictures[f"ours_{bounded}"], pictures["ours_exact"]),
        "bounded_gain_over_own_exact": mine["exact"] / mine[bounded],
        "speedups": {name: theirs_s / mine[name] for name in speeds},
        "psnrs": near,
        "peak_memory_ratio": ours["peak_memory_mb"] / theirs["peak_memory_mb"],
        "cold_start_ratio": ours["cold_start_s"] / theirs["cold_start_s"],
        "start_up_ratio": start_up(ours) / start_up(theirs),
        "matrix_peak_fraction": matrix_share(ours),
        "matrix_peak_fraction_theirs": matrix_share(theirs),
        "extra_person_cost": [(b - a) / people[0] for a, b in pairwise(people)],
    }


def start_up(side: dict[str, Any]) -> float:
    """Seconds of a cold start beside those that its first step takes when warm."""
    seconds: float = side["cold_start_s"] - side["unet_call_s"]
    return seconds


def matrix_share(side: dict[str, Any]) -> float:
    """What a U-Net call does a second, as a share of what a product of matrices did just before."""
    share: float = side["unet_flop"] / side["unet_call_s"] / side["matrix_peak"]
    return share


def psnr(one: np.ndarray, two: np.ndarray) -> float:
    """Decibels between two pictures in 0...1; 200 where they are the same."""
    return -10 * math.log10(float(np.mean((one.astype(float) - two) ** 2)) + 1e-20)


def print_table(result: dict[str, Any]) -> None:
    """The two sides beside each other, and what is compared."""
    ours, theirs = result["ours"], result["theirs"]
    print(f"{'':28} {'ours':>10} {'diffusers':>10}")
    for name in ("cold_start_s", "unet_call_s", "peak_memory_mb"):
        print(f"{name:28} {ours[name]:10.3f} {theirs[name]:10.3f}")
    for name, seconds in ours["seconds"].items():
        peer = theirs["seconds"].get(name)
        other = f"{statistics.median(peer):10.3f}" if peer else ""
        print(f"{f'seconds, {name}':28} {statistics.median(seconds):10.3f} {other}")
    for name, value in result.items():
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, float):
                print(f"{name:28} {one:10.3f}")


if __name__ == "__main__":
    main()
