"""Work on several pictures at once, a core each.

The threads are kept: new ones for every batch would each bring stores of their own to the
allocator and to torch's thread pools, which grow a server's memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, TypeVar

T = TypeVar("T")


def on_all_cores(work: Callable[..., T], *items: Iterable[Any]) -> list[T]:
    """What `work` gives of each item, in their order; several sequences go side by side.

    `work` must not itself call this. Raises what `work` raises first.
    """
    return list(_threads().map(work, *items))


@lru_cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), "core")
