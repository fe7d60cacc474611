"""How the time of a picture grows with its size, its steps, the batch and the people in it.

    python -m benchmarks.growth [--model mini] [--sizes 64 96 128 192 256] [--out FILE.json]

One thing is changed at a time, the others stay at the model's own; each figure is the fastest of
--rounds, without decoding. Writes JSON, and a plot in SVG beside it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import describe_machine
from benchmarks.peers_side import Nobody

WIDTH, HEIGHT, MARGIN = 220, 160, 34  # of a plot, in SVG's pixels


def main() -> None:
    """Measure, then write and print."""
    words = read_words()
    curves: dict[str, dict[int, float]] = {}
    for what, value, seconds in measure(words):
        curves.setdefault(what, {})[value] = seconds
        print(f"{what:8} {value:5} {seconds:8.3f} s", flush=True)
    result = {"machine": describe_machine(), "model": str(words.model), "seconds": curves}
    words.out.parent.mkdir(parents=True, exist_ok=True)
    words.out.write_text(json.dumps(result, indent=2) + "\n")
    words.out.with_suffix(".svg").write_text(draw_plots(curves))


def read_words() -> argparse.Namespace:
    """What to measure with."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    whole = {"type": int, "nargs": "*"}
    parser.add_argument("--sizes", **whole, default=[64, 96, 128, 192, 256])
    parser.add_argument("--steps", **whole, default=[4, 8, 16, 32])
    parser.add_argument("--batches", **whole, default=[1, 2, 4, 8])
    parser.add_argument("--people", **whole, default=[1, 2, 3, 4])
    parser.add_argument("--usual-steps", type=int, help="where steps are not what is changed")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/growth.json"))
    return parser.parse_args()


def measure(words: argparse.Namespace) -> Iterator[tuple[str, int, float]]:
    """What was changed, to what, and the seconds."""
    from facestudio import FaceStudioPipeline
    from facestudio.faces.identity import Identity

    pipe = FaceStudioPipeline.from_pretrained(words.model, detector=Nobody(), keep_encoders=False)
    dimension = pipe.identity_encoder.dimension
    vectors = np.random.default_rng(0).standard_normal((max(words.people or [1]), 1, dimension))
    people = [Identity.from_photos(v.astype(np.float32), pipe.identity_encoder) for v in vectors]
    usual = {"prompt": "an ink drawing", "seed": 1, "output_type": "latent"}
    if words.usual_steps:
        usual["num_inference_steps"] = words.usual_steps
    cases: list[tuple[str, int, int, dict[str, Any]]] = []
    cases += [("size", px, 1, {"height": px, "width": px}) for px in words.sizes]
    cases += [("steps", steps, 1, {"num_inference_steps": steps}) for steps in words.steps]
    cases += [("batch", count, 1, {"num_images_per_prompt": count}) for count in words.batches]
    cases += [("people", count, count, {}) for count in words.people]
    pipe(people[:1], **usual)
    for what, value, count, more in cases:
        if count > 1:
            more["regions"] = [(i / count, 0, (i + 1) / count, 1) for i in range(count)]
        seconds = []
        for _ in range(words.rounds):
            started = time.perf_counter()
            pipe(people[:count], **usual | more)
            seconds.append(time.perf_counter() - started)
        yield what, value, min(seconds)


def draw_plots(curves: dict[str, dict[int, float]]) -> str:
    """One small plot for each curve, beside each other, all from 0."""
    parts = [draw_plot(*curve, left=i * WIDTH) for i, curve in enumerate(curves.items())]
    size = f'width="{WIDTH * len(curves)}" height="{HEIGHT}"'
    style = 'font-family="sans-serif" font-size="10"'
    body = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>\n{body}\n</svg>\n'


def draw_plot(what: str, points: dict[int, float], left: int) -> str:
    """One curve with its values, as SVG."""
    most_x, most_y = max(points), max(points.values())
    wide, high = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN
    places = [
        (left + MARGIN + x / most_x * wide, HEIGHT - MARGIN - y / most_y * high)
        for x, y in points.items()
    ]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    marks = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2"/><text x="{x - 12:.1f}" y="{y - 5:.1f}">{s:.2f}'
        f'</text><text x="{x - 6:.1f}" y="{HEIGHT - MARGIN + 12}">{value}</text>'
        for (x, y), (value, s) in zip(places, points.items(), strict=True)
    ]
    title = f'<text x="{left + MARGIN}" y="12">seconds by {what}</text>'
    curve = f'<polyline points="{line}" fill="none" stroke="#4878a8"/>'
    return "\n".join([title, curve, *marks])


if __name__ == "__main__":
    main()
