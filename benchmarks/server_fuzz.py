"""schemathesis against a server of its own, by the OpenAPI document: no 5xx, no schema broken.

    python -m benchmarks.server_fuzz [--minutes 10] [--model mini]

Each of its phases has a part of the time to itself, and what those before it left; together, the
first could take all of it. Ends with the worst of their exit codes: 0 where nothing was found.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.server_process import Server
from facestudio import Client
from facestudio.errors import PictureError
from facestudio.server.folder import opening
from facestudio.server.keys import KeyStore
from facestudio.server.settings import ServerSettings

# Its other checks judge how an interface is made, not whether it keeps its word.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
PHASES = {
    "examples,coverage": 0.3,
    "fuzzing": 0.7,
    "stateful": 1.0,
}  # part of the time each ends at
PERSON = "anna"  # as in `fuzz_hooks.py`, which only schemathesis imports
SEEDS = 20
LITTLE = ("max_queue=8", "max_side_px=256", "max_steps=4", "max_images=2", "timeout_s=20")


def main() -> None:
    """Start a server, send it what schemathesis thinks of, stop it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--model", default="mini")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        key = make_key(Path(folder))
        server = Server(Path(folder), [f"model={words.model}", *LITTLE])
        try:
            save_somebody(Client(server.address, key))
            started, code = time.monotonic(), 0
            for phases, part in PHASES.items():
                left = started + part * words.minutes * 60 - time.monotonic()
                code = max(code, fuzz(phases, server.address, key, left, Path(folder)))
        finally:
            server.stop()
        print_faults(server.log)
    sys.exit(code)


def make_key(home: Path) -> str:
    """An API key for the server that will use this folder."""
    settings = ServerSettings(data=home / "server")
    with opening(settings) as database:
        return KeyStore(database).add("fuzz")


def save_somebody(client: Client) -> None:
    """A person to ask for, who never lived: a portrait that the server itself draws."""
    for seed in range(SEEDS):
        portrait = client.generate(prompt="a photo of a woman", seed=seed).images[0]
        try:
            client.add_identity(PERSON, portrait.resize((512, 512)))
            return
        except PictureError:
            continue
    raise SystemExit(f"no face was found in {SEEDS} portraits")


def fuzz(phases: str, address: str, key: str, seconds: float, folder: Path) -> int:
    """schemathesis' exit code over some of its phases."""
    print(f"{phases}, {seconds:.0f} seconds", flush=True)
    command = [
        "schemathesis", "run", f"{address}/openapi.json", "--url", address,
        "--checks", ",".join(CHECKS), "--phases", phases, "--continue-on-failure",
        "--max-time", f"{max(int(seconds), 1)}", "--request-timeout", "60",
        "--generation-database", "none", "--no-color",
        "-H", f"Authorization: Bearer {key}",
    ]  # fmt: skip
    program = Path(sys.executable).with_name(command[0])
    root = str(Path(__file__).parent.parent)
    hooks = {"SCHEMATHESIS_HOOKS": "benchmarks.fuzz_hooks", "PYTHONPATH": root}
    return subprocess.run(
        [str(program), *command[1:]], cwd=folder, env=os.environ | hooks
    ).returncode


def print_faults(log: Path) -> None:
    """What the server itself logged as a fault."""
    lines = log.read_text("utf-8", "replace").splitlines()
    for number, line in enumerate(lines):
        if " ERROR " in line:
            print("\n".join(lines[number : number + 30]))


if __name__ == "__main__":
    main()
