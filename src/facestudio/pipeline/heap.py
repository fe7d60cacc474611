"""Freed memory that a process holds on to."""

from __future__ import annotations

import ctypes
from typing import Any


def give_back() -> None:
    """Have the C library give back to the system what lies free between what is in use.

    Tensors of many sizes leave gaps, which the next ones do not fit into. Only glibc offers it.
    """
    libc: Any = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
