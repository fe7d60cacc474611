"""Memory at its most with and without each lever of docs/speed.md, at full size.

    python -m benchmarks.memory [half-width tiles ...]

half-width draws a picture of 512 px in one step and decodes it; tiles decodes one of 1024 px. Each
figure is of a process of its own, over the model that `python -m benchmarks.peers --stage files`
leaves in --scratch.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.machine import describe_machine
from benchmarks.peers_side import SEED, load_ours


@dataclass(frozen=True)
class Use:
    """What a process does. decodes: a decoder's part alone, of random latents, after loading."""

    px: int = 512
    dtype: str = "bfloat16"
    decodes: bool = False
    tiles: bool = False


# A lever, and what is done without it and with it.
LEVERS = {
    "half-width": (Use(dtype="float32"), Use()),
    "tiles": (Use(px=1024, decodes=True), Use(px=1024, decodes=True, tiles=True)),
}


def main() -> None:
    """Measure each lever; print and write the figures."""
    words = read_words()
    if words.use:
        print(measure(words.scratch, Use(**json.loads(words.use))))
        return
    found = {lever: compare(lever, words.scratch) for lever in words.levers}
    result = {"machine": describe_machine(), "megabytes": found}
    words.out.parent.mkdir(parents=True, exist_ok=True)
    words.out.write_text(json.dumps(result, indent=2) + "\n")
    print(words.out)


def read_words() -> argparse.Namespace:
    """What to measure with."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("levers", nargs="*", default=[*LEVERS], metavar="|".join(LEVERS))
    parser.add_argument("--scratch", type=Path, default=Path("benchmarks/out/peers"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/out/memory.json"))
    parser.add_argument("--use", help="what this very process does; in JSON")
    words = parser.parse_args()
    if unknown := set(words.levers) - set(LEVERS):
        parser.error(f"no lever {', '.join(unknown)}; there are {', '.join(LEVERS)}")
    return words


def compare(lever: str, scratch: Path) -> list[int]:
    """Megabytes without a lever and with it."""
    command = [sys.executable, "-m", "benchmarks.memory", "--scratch", str(scratch), "--use"]
    found = []
    for use in LEVERS[lever]:
        told = [*command, json.dumps(asdict(use))]
        done = subprocess.run(told, check=True, stdout=subprocess.PIPE, text=True)
        found.append(int(done.stdout.split()[-1]))
    print(f"{lever:12} {found[0]:6} to {found[1]:6} MB", flush=True)
    return found


@torch.no_grad()
def measure(scratch: Path, use: Use) -> int:
    """Megabytes that lay in this process's memory at most."""
    pipe, draw = load_ours(scratch, {"steps": 1, "people": 1, "px": use.px, "dtype": use.dtype})
    codec = pipe.codec
    if use.tiles:
        codec.read().vae.enable_tiling()
    if use.decodes:
        size = use.px // codec.factor
        noise = torch.randn(1, codec.channels, size, size, generator=seeded())
        codec.decode(noise)
    else:
        draw()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def seeded() -> torch.Generator:
    """Where random latents come from."""
    return torch.Generator().manual_seed(SEED)


if __name__ == "__main__":
    main()
