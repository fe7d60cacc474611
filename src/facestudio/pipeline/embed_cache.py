"""What encoders made of the last pictures, kept in memory by the pictures' hashes."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from facestudio.faces.detect import Detector, Face

T = TypeVar("T")
CAPACITY = 32


class EmbedCache:
    """The last `capacity` results; 0 keeps none, so that everything is computed each time.

    A result counts for the very parts that made it: one that is replaced starts anew. Call `clear`
    after changing weights in place, or to forget everybody. Threads may share one.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self._kept: OrderedDict[Hashable, tuple[Sequence[Any], Any]] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, parts: Sequence[Any], make: Callable[[], T]) -> T:
        """What is kept under `key` of these parts, else what `make` gives. Do not change it."""
        with self._lock:
            makers, kept = self._kept.get(key, ((), None))
            if makers and all(a is b for a, b in zip(makers, parts, strict=True)):
                self._kept.move_to_end(key)
                result: T = kept
                return result
        result = make()
        with self._lock:
            self._kept[key] = (parts, result)
            self._kept.move_to_end(key)
            while len(self._kept) > self.capacity:
                self._kept.popitem(last=False)
        return result

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()


class RememberedFaces:
    """A detector that looks at each picture once, as long as the cache keeps what it saw."""

    def __init__(self, detector: Detector, cache: EmbedCache) -> None:
        self._detector, self._cache = detector, cache
        self.name, self.licence = detector.name, detector.licence

    def detect(self, image: Image.Image) -> list[Face]:
        """The faces in the picture."""
        key, look = ("faces", hash_picture(image)), partial(self._detector.detect, image)
        return list(self._cache.get(key, (self._detector,), look))


def hash_picture(picture: Image.Image) -> str:
    """The SHA-256 of a picture's size and RGB pixels."""
    pixels = np.asarray(picture.convert("RGB"))
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()
