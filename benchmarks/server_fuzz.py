"""schemathesis against a server of its own, by the OpenAPI document: no 5xx, no schema broken.

    python -m benchmarks.server_fuzz [--minutes 10] [--model mini]

Ends with schemathesis' exit code: 0 where nothing was found.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.server_process import Server
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
            code = fuzz(server.address, key, words.minutes * 60, Path(folder))
        finally:
            server.stop()
        print_faults(server.log)
    sys.exit(code)


def make_key(home: Path) -> str:
    """An API key for the server that will use this folder."""
    settings = ServerSettings(data=home / "server")
    with opening(settings) as database:
        return KeyStore(database).add("fuzz")


def fuzz(address: str, key: str, seconds: float, folder: Path) -> int:
    """schemathesis' exit code."""
    command = [
        "schemathesis", "run", f"{address}/openapi.json", "--url", address,
        "--checks", ",".join(CHECKS), "--max-examples", "1000000",
        "--phases", "examples,coverage,fuzzing", "--continue-on-failure",
        "--max-time", f"{int(seconds)}", "--request-timeout", "60",
        "--generation-database", "none", "--no-color",
        "-H", f"Authorization: Bearer {key}",
    ]  # fmt: skip
    program = Path(sys.executable).with_name(command[0])
    return subprocess.run([str(program), *command[1:]], cwd=folder, env=os.environ).returncode


def print_faults(log: Path) -> None:
    """What the server itself logged as a fault."""
    lines = log.read_text("utf-8", "replace").splitlines()
    for number, line in enumerate(lines):
        if " ERROR " in line:
            print("\n".join(lines[number : number + 30]))


if __name__ == "__main__":
    main()
