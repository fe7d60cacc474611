"""Seconds of a cold command, of its parts, and of a warm picture; a table, and JSON with --json.

    python -m benchmarks.mini_speed photo.jpg [--model mini] [--rounds 5] [--json]

Every figure is the median over the rounds. Cold means a new process with files in the page cache;
run on a quiet machine, the spread is printed beside each median.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.machine import describe_machine


def main() -> None:
    """Measure, then print."""
    words = read_words()
    figures = measure_cold(words) | measure_warm(words)
    result = {"machine": describe_machine(), "model": words.model, "seconds": figures}
    if words.json:
        print(json.dumps(result, indent=2))
    else:
        print_figures(result)


def read_words() -> argparse.Namespace:
    """What to measure with."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photo", type=Path)
    parser.add_argument("--style", type=Path, default=Path("demo/style.png"))
    parser.add_argument("--model", default="mini")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def measure_cold(words: argparse.Namespace) -> dict[str, dict[str, float]]:
    """New processes: importing the package, asking for help, making one picture."""
    command = [sys.executable, "-m", "facestudio"]
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder, "portrait.png"))
        photo = [str(words.photo), "--style", str(words.style), "--model", words.model]
        calls = {
            "import facestudio": [sys.executable, "-c", "import facestudio"],
            "facestudio --help": [*command, "--help"],
            "facestudio generate": [*command, "generate", *photo, "--seed", "1", "-o", out],
        }
        return {name: spread(lambda c=c: run(c), words.rounds) for name, c in calls.items()}


def measure_warm(words: argparse.Namespace) -> dict[str, dict[str, float]]:
    """One process: loading the model, reading a face, a picture alone and a picture of four."""
    from facestudio import FaceStudioPipeline

    def draw(count: int) -> Any:
        return pipe(anna, style=words.style, seed=1, num_images_per_prompt=count)

    figures = {"load": spread(lambda: FaceStudioPipeline.from_pretrained(words.model), 3)}
    pipe = FaceStudioPipeline.from_pretrained(words.model)
    anna = pipe.identity(words.photo, largest=True)
    draw(1)
    figures["identity"] = spread(lambda: pipe.identity(words.photo, largest=True), words.rounds)
    figures["picture"] = spread(lambda: draw(1), words.rounds)
    four = spread(lambda: draw(4), words.rounds)
    figures["picture, of four"] = {key: value / 4 for key, value in four.items()}
    return figures


def run(command: list[str]) -> None:
    """One process to its end; a failure is shown and raised."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def spread(work: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Median, fastest and slowest seconds of `rounds` calls."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return {"median": statistics.median(seconds), "min": min(seconds), "max": max(seconds)}


def print_figures(result: dict[str, Any]) -> None:
    """A table for people."""
    print("  ".join(f"{name} {value}" for name, value in result["machine"].items()))
    print(f"{'seconds (' + result['model'] + ')':24} {'median':>8} {'min':>8} {'max':>8}")
    for name, s in result["seconds"].items():
        print(f"{name:24} {s['median']:8.3f} {s['min']:8.3f} {s['max']:8.3f}")


if __name__ == "__main__":
    main()
