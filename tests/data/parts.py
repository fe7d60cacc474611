"""Parts that end badly, for tests of what a run survives. Workers import them by name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from facestudio.data.sources import Item, Part


@dataclass(frozen=True)
class SleepyPart:
    """Writes the worker's process number and never ends."""

    note: Path
    name: str = "sleepy"

    def __iter__(self) -> Iterator[Item]:
        self.note.write_text(str(os.getpid()))
        time.sleep(600)
        yield from ()


@dataclass(frozen=True)
class DeadlyPart:
    """Kills its worker when met first, after half of the inner part (or always)."""

    met: Path
    inner: Part | None = None
    always: bool = False
    name: str = "deadly"

    def __iter__(self) -> Iterator[Item]:
        items = list(self.inner or ())
        yield from items[: len(items) // 2]
        if self.always or not self.met.exists():
            self.met.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield from items[len(items) // 2 :]
