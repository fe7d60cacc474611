"""Attention in single precision under bf16 autocast on a CPU, whose backward pass is faster.

In bf16 the backward pass of torch's flash attention for CPUs is slow: at 256 positions and 8 heads
of 24 values 126 ms a batch of 32, against 59 ms in fp32 (over 9 keys: 95 against 11), on one core
with AMX. Large heads are faster in bf16, forwards and backwards together: 548 ms against 670 a
picture of 4,096 positions and 8 heads of 40 values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack
from torch.utils.checkpoint import checkpoint

LARGE = 6_000_000  # queries × keys × values of a head, from where bf16 is faster


class FloatAttention(TorchFunctionMode):
    """While it is entered, attention of small heads computes in fp32; outputs keep their type.

    `with FloatAttention(): …` around a forward pass; the backward pass follows it, and what is
    computed again there does so by `checkpoint_alike`.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func`, attention on fp32 copies of its inputs."""
        kwargs = kwargs or {}
        if func is not F.scaled_dot_product_attention or _work(*args[:2]) >= LARGE:
            return func(*args, **kwargs)
        kind = args[0].dtype
        if torch.is_autocast_enabled("cpu"):
            kind = torch.get_autocast_dtype("cpu")
        with torch.autocast("cpu", enabled=False):
            return func(*map(_float, args), **{k: _float(v) for k, v in kwargs.items()}).to(kind)


def checkpoint_alike(module: nn.Module, *args: Any) -> Any:
    """Call a module and keep its inputs alone: it runs again in the backward pass, as it ran first.

    A mode does not reach into the backward pass: what is entered now, as FloatAttention, is entered
    there anew.
    """
    return checkpoint(module, *args, use_reentrant=False, context_fn=_first_and_again)


def _first_and_again() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    return nullcontext(), _entered(_get_current_function_mode_stack())


@contextmanager
def _entered(modes: Sequence[TorchFunctionMode]) -> Iterator[None]:
    with ExitStack() as stack:
        for mode in modes:
            stack.enter_context(mode)
        yield


def _work(query: Tensor, key: Tensor) -> int:
    return query.shape[-2] * key.shape[-2] * query.shape[-1]


def _float(value: Any) -> Any:
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.float()
    return value
