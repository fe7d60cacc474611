"""What stands before every route: the limit on bytes, the log, the counts, the headers."""

from __future__ import annotations

import logging
import time
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from facestudio.errors import TooLarge
from facestudio.server.answers import answer
from facestudio.server.metrics import Metrics

logger = logging.getLogger("facestudio.server")


class Guard:
    """An ASGI layer. The log holds the route's template and never what it was filled with."""

    def __init__(self, app: ASGIApp, metrics: Metrics, max_bytes: int) -> None:
        self._app = app
        self._metrics = metrics
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, counted and limited."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Cache-Control"] = "no-store"
                MutableHeaders(scope=message)["X-Content-Type-Options"] = "nosniff"
                self._note(scope, message["status"], time.perf_counter() - started)
            await send(message)

        if self._announces_too_much(scope):
            await answer(self._too_large())(scope, receive, counted)
            return
        await self._app(scope, self._limited(receive), counted)

    def _announces_too_much(self, scope: Scope) -> bool:
        length = Headers(scope=scope).get("content-length", "0")
        return not length.isdecimal() or int(length[:20]) > self._max_bytes

    def _limited(self, receive: Receive) -> Receive:
        seen = 0

        async def limited() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._max_bytes:
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> TooLarge:
        most = f"{self._max_bytes:,} bytes"
        return TooLarge(f"the request has over {most}", hint="send smaller or fewer pictures")

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        route: Any = scope.get("route")
        template, method = getattr(route, "path", "unknown"), known_method(scope["method"])
        self._metrics.requests.labels(template, method, str(status)).inc()
        self._metrics.request_seconds.labels(template).observe(seconds)
        logger.info("%s %s %d %.3f s", method, template, status, seconds)


def known_method(method: str) -> str:
    """The method, or "other": a label with a value for every fancy would grow without end."""
    return method if method in ("GET", "POST", "DELETE", "HEAD", "OPTIONS", "PUT") else "other"
