"""A stop that is asked for (Ctrl-C, a scheduler's SIGTERM) and obeyed between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether a stop was asked for. `impatient`: a second Ctrl-C stops at once."""

    def __init__(self, impatient: bool = True) -> None:
        self.asked = False
        self.impatient = impatient

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear the signals until the end of the block; in other threads than the first, nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.asked and self.impatient and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
