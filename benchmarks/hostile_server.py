"""The whole corpus of hostile pictures against a server of its own: answers and memory.

    python -m benchmarks.hostile_server [--number 1000] [--model mini]

from the root of the checkout. Every picture is sent to /v1/faces and to /v1/generate as a photo,
every fourth as a style picture too. Ends with 1 where an answer is no success and no clear 4xx.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path, PurePosixPath
from typing import Any

from benchmarks.server_process import Server
from facestudio import Client
from facestudio.client import to_form
from tests.hostile_pictures import HostilePicture, make_hostile_pictures

OUT = Path("benchmarks/out/hostile_server.json")
FLAGS = ("max_queue=8", "max_steps=1")
USES = ("faces", "identity", "style")
QUARTERS, STYLE_EVERY = 4, 4


def main() -> None:
    """Send all of them, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--model", default="mini")
    words = parser.parse_args()
    corpus = list(make_hostile_pictures(words.number))
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder), [f"model={words.model}", *FLAGS])
        try:
            result = judge(server, corpus)
        finally:
            server.stop()
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(json.dumps(result, indent=1))
    sys.exit(1 if result["wrong"] else 0)


def judge(server: Server, corpus: Sequence[HostilePicture]) -> dict[str, Any]:
    """Answers by use, and the memory at the start and after each quarter."""
    client = Client(server.address, timeout_s=600)
    client.generate(prompt="a portrait", num_inference_steps=1)  # the first call fills caches
    answers: dict[str, Counter[str]] = {use: Counter() for use in USES}
    memory, slowest = [round(server.memory_mb(), 1)], (0.0, "")
    for number, hostile in enumerate(corpus, start=1):
        for use, counted in answers.items():
            if use == "style" and number % STYLE_EVERY:
                continue
            started = time.perf_counter()
            counted[send(server, use, number, hostile)] += 1
            slowest = max(slowest, (time.perf_counter() - started, f"{use} {hostile.name}"))
        if number % -(-len(corpus) // QUARTERS) == 0:
            memory.append(round(server.memory_mb(), 1))
    client.call("GET", "/ready")
    return {
        "pictures": len(corpus),
        "answers": {use: dict(sorted(counted.items())) for use, counted in answers.items()},
        "wrong": sorted(filter(is_wrong, {code for each in answers.values() for code in each})),
        "memory_mb": memory,
        "memory_growth": round(memory[-1] / memory[1] - 1, 4),
        "slowest": {"seconds": round(slowest[0], 2), "what": slowest[1]},
    }


def is_wrong(answer: str) -> bool:
    """Whether an answer is neither a success nor a refusal with a code."""
    return answer[0] not in "24"


def send(server: Server, use: str, number: int, hostile: HostilePicture) -> str:
    """The status of the answer to one picture, and the code where it is an error."""
    name = f"{number}-{PurePosixPath(hostile.name).name}"
    asked = {use: name, "prompt": "a portrait", "num_inference_steps": 1}
    body, kind = to_form(None if use == "faces" else asked, {name: hostile.data})
    connection = HTTPConnection("127.0.0.1", server.port, timeout=600)
    try:
        path = "/v1/faces" if use == "faces" else "/v1/generate?wait=true"
        connection.request("POST", path, body, {"Content-Type": kind})
        answer = connection.getresponse()
        told = json.loads(answer.read())
    finally:
        connection.close()
    failed = answer.status >= 400
    return f"{answer.status} {told['error']['code']}" if failed else str(answer.status)


if __name__ == "__main__":
    main()
