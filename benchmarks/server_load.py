"""The server under load: what is lost, mixed up, grows, and gained by batches.

    python -m benchmarks.server_load [--requests 200] [--clients 16] [--model mini] [--steps N]

Writes benchmarks/out/server.json. The same requests go to one server twice, each with a person
and a seed of its own: one by one, then from many clients at once. A picture of the second time
that is nearer to another request's of the first is mixed up. A request whose picture an installed
content checker withholds has its answer, and is counted apart. Memory is read before the second
time and after each quarter of it; its growth is from the first quarter's end, when batches of most
sizes have been drawn once, to the last's. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.server_process import Server
from facestudio import Client, FaceStudioError, FaceStudioPipeline
from facestudio.errors import PictureError, Withheld
from facestudio.faces.identity import Identity
from facestudio.identities.store import IdentityStore
from facestudio.pipeline.likeness import enlarge

OUT = Path("benchmarks/out/server.json")
PEOPLE = 16
QUARTERS = 4
SAME = 3.0  # levels of mean difference up to which two pictures are the same
PROMPTS = ("an ink drawing", "a photo of a person smiling", "an oil painting", "a watercolour")


@dataclass(frozen=True)
class Answer:
    """What came of one request: the picture, or why there is none, and how long it took."""

    picture: np.ndarray | None
    seconds: float
    error: str | None = None
    person: str | None = None


def main() -> None:
    """Measure, print and write."""
    words = read_words()
    with tempfile.TemporaryDirectory() as folder:
        asked = make_requests(Path(folder), words)
        with serving(Path(folder), words) as server:
            figures = measure(server, asked, words)
    OUT.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(figures, indent=2)
    OUT.write_text(text + "\n", "utf-8")
    print(text)


def read_words() -> argparse.Namespace:
    """What to measure with."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--engine", default="local")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--max-batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=None, help="of the sampler [the model's]")
    return parser.parse_args()


def make_requests(folder: Path, words: argparse.Namespace) -> list[dict[str, Any]]:
    """Requests of one shape, each with a person and a seed; the people are saved in `folder`."""
    store = IdentityStore(folder / "home" / "identities")
    for number, person in enumerate(make_people(words.model)):
        store.add(f"person-{number}", person)
    options = {} if words.steps is None else {"num_inference_steps": words.steps}
    return [
        {
            "identity": f"@person-{number % PEOPLE}",
            "prompt": PROMPTS[number // PEOPLE % len(PROMPTS)],
            "seed": 1000 + number,
            **options,
        }
        for number in range(words.requests)
    ]


def make_people(model: str) -> list[Identity]:
    """Nobody's faces, but faces: of portraits that the model draws of the zero identity."""
    pipe = FaceStudioPipeline.from_pretrained(model)
    people: list[Identity] = []
    for seed in range(10 * PEOPLE):
        drawn = pipe(None, prompt=PROMPTS[1], seed=seed, watermark=False).images[0]
        try:
            people.append(pipe.identity(enlarge(drawn), largest=True))
        except PictureError:
            continue
        if len(people) == PEOPLE:
            return people
    raise RuntimeError(f"{model} drew only {len(people)} faces of {PEOPLE}")


@contextmanager
def serving(folder: Path, words: argparse.Namespace) -> Iterator[Server]:
    """A server process of its own, ready to draw."""
    flags = [
        f"model={words.model}",
        f"engine={words.engine}",
        f"replicas={words.replicas}",
        f"max_batch={words.max_batch}",
        f"max_queue={max(words.clients, 1) * 2}",
        "timeout_s=3600",
    ]
    server = Server(folder / "home", flags)
    try:
        yield server
    finally:
        server.stop()


def measure(
    server: Server, asked: Sequence[dict[str, Any]], words: argparse.Namespace
) -> dict[str, Any]:
    """All figures."""
    client = Client(server.address, timeout_s=3600)
    ask_all(client, asked[: 2 * words.clients], words.clients)  # the first calls fill caches
    alone, alone_s = ask_all(client, asked, clients=1)
    memory, drawn = [server.memory_mb()], count_batches(client)
    together, together_s = [], 0.0
    for quarter in np.array_split(np.array(asked, dtype=object), QUARTERS):
        answers, seconds = ask_all(client, list(quarter), words.clients)
        together, together_s = together + answers, together_s + seconds
        memory.append(server.memory_mb())
    batches = count_batches(client) - drawn
    errors = Counter(answer.error for answer in (*alone, *together) if answer.error is not None)
    withheld = errors.pop(Withheld.code, 0)
    return {
        "requests": len(asked),
        "clients": words.clients,
        "lost": errors.total(),
        "mixed_up": count_mixed_up(asked, alone, together),
        "memory_growth": round(memory[-1] / memory[1] - 1, 4),
        "batching_ratio": round(alone_s / together_s, 3),
        "details": {
            "seconds_one_by_one": round(alone_s, 2),
            "seconds_together": round(together_s, 2),
            "latency_one_by_one_s": spread([answer.seconds for answer in alone]),
            "latency_together_s": spread([answer.seconds for answer in together]),
            "jobs_a_batch": round(len(asked) / batches, 2),
            "memory_mb": [round(mb, 1) for mb in memory],
            "largest_difference": largest_difference(alone, together),
            "withheld": withheld,
            "errors": dict(errors),
            "model": words.model,
            "engine": words.engine,
            "max_batch": words.max_batch,
            "cores": len(os.sched_getaffinity(0)),
            "load_average": round(os.getloadavg()[0], 2),
        },
    }


def ask_all(
    client: Client, asked: Sequence[dict[str, Any]], clients: int
) -> tuple[list[Answer], float]:
    """Every request's answer, asked by so many at once, and the seconds of all."""
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        answers = list(pool.map(lambda one: ask(client, one), asked))
    return answers, time.perf_counter() - started


def ask(client: Client, asked: dict[str, Any]) -> Answer:
    """One request's answer."""
    started = time.perf_counter()
    try:
        made = client.generate(**asked, patience_s=3600)
    except FaceStudioError as problem:
        return Answer(None, time.perf_counter() - started, problem.code)
    picture = np.asarray(made.images[0].convert("RGB"), dtype=np.float32)
    person = made.settings["identity"][0]["sha256"]
    return Answer(picture, time.perf_counter() - started, person=person)


def count_mixed_up(
    asked: Sequence[dict[str, Any]], alone: Sequence[Answer], together: Sequence[Answer]
) -> int:
    """How many answers are not what the same request got alone: another person or picture."""
    known = [i for i, answer in enumerate(alone) if answer.picture is not None]
    pictures = np.stack([alone[i].picture for i in known])
    mixed = 0
    for number, answer in enumerate(together):
        if answer.picture is None or alone[number].picture is None:
            continue
        differences = np.abs(pictures - answer.picture).mean(axis=(1, 2, 3))
        nearest = known[int(differences.argmin())]
        own = float(differences[known.index(number)])
        mixed += nearest != number or own > SAME or answer.person != alone[number].person
    return mixed


def largest_difference(alone: Sequence[Answer], together: Sequence[Answer]) -> float:
    """The largest mean difference, in levels, between a request's two pictures."""
    pairs = [
        (a.picture, b.picture)
        for a, b in zip(alone, together, strict=True)
        if a.picture is not None and b.picture is not None
    ]
    return round(max((float(np.abs(a - b).mean()) for a, b in pairs), default=0.0), 4)


def count_batches(client: Client) -> int:
    """How many batches the server has drawn, by its own figures."""
    with client.open("GET", "/metrics") as answer:
        lines = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines())
    return int(float(lines["facestudio_batch_jobs_count"]))


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Median and slowest."""
    return {"median": round(statistics.median(seconds), 3), "max": round(max(seconds), 3)}


if __name__ == "__main__":
    main()
