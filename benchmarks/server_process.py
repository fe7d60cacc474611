"""A `facestudio serve` in a process of its own, on a free port, for benchmarks."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from facestudio import Client, FaceStudioError

READY_S = 600


class Server:
    """Started when made; `kill` ends it without a word, `stop` in good order."""

    def __init__(self, home: Path, flags: Sequence[str] = (), port: int | None = None) -> None:
        self.port = port or free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        words = [word for flag in (*flags, f"port={self.port}") for word in ("-s", flag)]
        self.log = home / "serve.log"
        home.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "facestudio", "serve", *words],
                env=os.environ | {"FACESTUDIO_HOME": str(home)},
                stdout=log,
                stderr=log,
            )
        self._wait_until_ready()

    def memory_mb(self) -> float:
        """Resident memory of the process."""
        status = Path(f"/proc/{self._process.pid}/status").read_text("utf-8")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1000

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in good order."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(how)
        self._process.wait()

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + READY_S
        while True:
            try:
                Client(self.address).call("GET", "/ready")
                return
            except FaceStudioError:
                if self._process.poll() is not None or time.monotonic() > end:
                    self._end(signal.SIGKILL)
                    raise RuntimeError(self.log.read_text("utf-8", "replace")[-3000:]) from None
                time.sleep(0.2)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
