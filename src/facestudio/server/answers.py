"""Errors as HTTP answers: one status for each class, one form of body."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from facestudio import errors
from facestudio.errors import BadOption, Busy, FaceStudioError, NotAllowed, NotFound, ServerFault
from facestudio.server.faults import log_fault
from facestudio.server.schemas import Problem

Responses = dict[int | str, dict[str, Any]]
"""What a route declares of its answers, by status."""

# The first class that fits counts.
STATUS: tuple[tuple[type[FaceStudioError], int], ...] = (
    (errors.OptionError, 422),
    (errors.TooLarge, 413),
    (errors.PictureError, 422),
    (errors.MissingWeights, 422),
    (errors.EncoderMismatch, 409),
    (errors.NoSpace, 507),
    (errors.OutOfMemory, 503),
    (NotAllowed, 401),
    (NotFound, 404),
    (Busy, 429),
    (errors.NotReady, 503),
    (errors.DeadlinePassed, 408),
    (errors.Cancelled, 409),
    (errors.Withheld, 422),
)
DESCRIPTIONS = {
    400: "The form cannot be read, or has too many parts.",
    401: "The API key is missing or unknown.",
    404: "There is no such thing, or none of yours.",
    408: "Not ready before its deadline.",
    409: "It does not go together with what is there.",
    413: "Too many bytes, pixels or pictures.",
    422: "The request or a picture in it cannot be used.",
    429: "The queue is full; ask again after the seconds in Retry-After.",
}


def status_of(error: FaceStudioError) -> int:
    """The HTTP status of an error."""
    return next((status for kind, status in STATUS if isinstance(error, kind)), 500)


def problems(*statuses: int) -> Responses:
    """What a route declares of its errors; every route may answer 401 and 422."""
    declared: Responses = {status: _declare(status) for status in sorted({401, 422, *statuses})}
    if 429 in declared:
        seconds = {"description": "Seconds.", "schema": {"type": "integer"}}
        declared[429]["headers"] = {"Retry-After": seconds}
    return declared


def leads_to(parameters: dict[str, Any], *operations: str) -> dict[str, Any]:
    """What a route declares of the operations that its answer gives parameters for."""
    return {"links": {name: {"operationId": name, "parameters": parameters} for name in operations}}


def answer(error: FaceStudioError) -> JSONResponse:
    """The error as an HTTP answer."""
    headers = {}
    if isinstance(error, Busy):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, NotAllowed):
        headers["WWW-Authenticate"] = "Bearer"
    body = {"error": error.to_dict()}
    return JSONResponse(body, status_of(error), headers)


def as_option(problem: ValidationError | RequestValidationError, what: str) -> BadOption:
    """What pydantic found wrong first, as one of our errors; nothing of what was given."""
    first = problem.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or what
    return BadOption(f"{where}: {first['msg']}"[:500], hint="see /openapi.json")


def install(app: FastAPI) -> None:
    """Let every failure of the app be answered in one form."""

    async def known(request: Request, error: Exception) -> Response:
        assert isinstance(error, FaceStudioError)
        return answer(error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return answer(as_option(error, "the request"))

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        kind = NotFound if error.status_code == 404 else BadOption
        body = {"error": kind(str(error.detail)).to_dict()}
        return JSONResponse(body, error.status_code, error.headers)

    async def unknown(request: Request, error: Exception) -> Response:
        log_fault("a request failed", error)
        return answer(ServerFault(f"the server met a {type(error).__name__}; it is logged"))

    app.add_exception_handler(FaceStudioError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(Exception, unknown)


def _declare(status: int) -> dict[str, Any]:
    return {"model": Problem, "description": DESCRIPTIONS[status]}
