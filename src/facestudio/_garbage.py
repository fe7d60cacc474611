"""Starting without looking for garbage: imports and networks make objects that stay."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def leaving_garbage() -> Iterator[None]:
    """Python looks for no cycles meanwhile, in any thread.

    While many objects are made and none let go it looks through all of them time and again, which
    takes a quarter of the time of importing torch and diffusers.
    """
    looked = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if looked:
            gc.enable()
