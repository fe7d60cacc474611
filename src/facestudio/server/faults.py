"""Failures that are the server's own: what the log holds of them, and what the asker is told."""

from __future__ import annotations

import logging
import traceback

from facestudio.errors import FaceStudioError, ServerFault

logger = logging.getLogger("facestudio.server")


def log_fault(what: str, problem: BaseException) -> None:
    """Log where it went wrong; not the message, which may hold what somebody wrote."""
    frames = "".join(traceback.format_tb(problem.__traceback__))
    logger.error("%s: %s\n%s", what, type(problem).__name__, frames)


def as_fault(problem: Exception) -> FaceStudioError:
    """What the asker is told of a failure that is not theirs: its kind, nothing of its contents."""
    log_fault("drawing failed", problem)
    return ServerFault(
        f"the server met a {type(problem).__name__} while drawing", hint="try again; it is logged"
    )
