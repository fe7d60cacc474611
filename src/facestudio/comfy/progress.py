"""ComfyUI's bar and its cancel button, where the nodes run inside ComfyUI."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

Callback = Callable[..., dict[str, Any]]


def report_steps(steps: int) -> Callback | None:
    """What the pipeline calls after each of `steps` steps; None outside of ComfyUI."""
    try:
        utils, management = import_module("comfy.utils"), import_module("comfy.model_management")
    except ImportError:
        return None
    bar = utils.ProgressBar(steps)

    def on_step_end(_: Any, step: int, *__: Any) -> dict[str, Any]:
        management.throw_exception_if_processing_interrupted()
        bar.update_absolute(step + 1, steps)
        return {}

    return on_step_end
