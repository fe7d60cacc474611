"""/v1/generate and /v1/jobs: ask, watch, fetch, cancel, delete."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from facestudio.errors import FaceStudioError, NotFound
from facestudio.server.answers import Responses, leads_to, problems
from facestudio.server.desk import Caller, Desk, DeskParts
from facestudio.server.forms import form_body
from facestudio.server.intake import make_job, parse, read_upload
from facestudio.server.jobs import Job
from facestudio.server.schemas import ErrorFacts, Generate, JobFacts, JobList, Picture

LOOK_S = 0.25  # how often it is looked whether a waiting caller is still there
EVENT = {
    "type": "object",
    "properties": {
        "event": {"enum": ["progress", "end"]},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/JobFacts"},
        },
    },
    "required": ["event", "data"],
}
EVENTS: Responses = {
    200: {
        "description": "Events named `progress`, and last one named `end`; the data is the job.",
        "content": {"text/event-stream": {"schema": EVENT}},
    }
}
JOB = {"job_id": "$response.body#/id"}
NEXT = leads_to(JOB, "show_job", "watch_job", "cancel_job", "delete_job")
PICTURES = leads_to(JOB | {"number": 0}, "fetch_picture")
PICTURE: Responses = {200: {"description": "The picture.", "content": {"image/png": {}}}}

router = APIRouter(prefix="/v1", tags=["pictures"])
JobId = Annotated[str, Path(pattern="^[0-9a-f]{24}$", examples=["0123456789abcdef01234567"])]


@router.post(
    "/generate",
    status_code=202,
    response_model=JobFacts,
    responses={
        202: {"description": "The job that waits now."} | NEXT,
        200: {
            "model": JobFacts,
            "description": "With `wait`: the finished job.",
            "links": NEXT["links"] | PICTURES["links"],
        },
        **problems(400, 404, 408, 409, 413, 429),
    },
    openapi_extra=form_body(Generate, also_json=True),
)
async def generate(
    request: Request,
    response: Response,
    caller: Caller,
    desk: Desk,
    wait: Annotated[
        bool, Query(description="Answer when it is finished; leaving before then cancels it.")
    ] = False,
) -> JobFacts:
    """Draw portraits: accept a job, to be watched at its address."""
    desk.dispatcher.check_room()
    upload = await read_upload(request, desk.settings)
    asked = parse(Generate, upload.settings)
    job = await make_job(asked, upload, caller, desk.people, desk.card.limits, desk.settings)
    desk.dispatcher.accept(job, list(upload.pictures.values()))
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    if wait:
        job = await wait_for(job, request, desk)
        response.status_code = 200
    return describe(job, desk)


@router.get("/jobs", responses=problems())
async def list_jobs(
    caller: Caller, desk: Desk, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> JobList:
    """The caller's jobs, the newest first."""
    return JobList(jobs=[describe(job, desk) for job in desk.store.newest(caller, limit)])


@router.get("/jobs/{job_id}", responses=problems(404))
async def show_job(job_id: JobId, caller: Caller, desk: Desk) -> JobFacts:
    """How far a job is, and in the end its pictures or its error."""
    return describe(desk.store.get(job_id, caller), desk)


@router.get("/jobs/{job_id}/events", responses=EVENTS | problems(404))
async def watch_job(job_id: JobId, caller: Caller, desk: Desk) -> EventSourceResponse:
    """The job now and after every change, as server-sent events, until it has ended."""
    job = desk.store.get(job_id, caller)

    async def events() -> AsyncIterator[ServerSentEvent]:
        try:
            async for state in desk.dispatcher.watch(job):
                name = "end" if state.is_finished else "progress"
                yield ServerSentEvent(describe(state, desk).model_dump_json(), event=name)
        except NotFound:  # deleted while it was watched
            return

    return EventSourceResponse(events())


@router.get(
    "/jobs/{job_id}/pictures/{number}",
    response_class=FileResponse,
    responses=PICTURE | problems(404),
)
async def fetch_picture(
    job_id: JobId, number: Annotated[int, Path(ge=0, le=1000)], caller: Caller, desk: Desk
) -> FileResponse:
    """One picture of a finished job, a PNG with its settings inside."""
    path = desk.store.picture(desk.store.get(job_id, caller), number)
    return FileResponse(path, media_type="image/png")


@router.post("/jobs/{job_id}/cancel", responses=problems(404))
async def cancel_job(job_id: JobId, caller: Caller, desk: Desk) -> JobFacts:
    """End a job now; one that has ended already stays as it is."""
    desk.dispatcher.cancel(desk.store.get(job_id, caller))
    return describe(desk.store.get(job_id, caller), desk)


@router.delete("/jobs/{job_id}", status_code=204, responses=problems(404))
async def delete_job(job_id: JobId, caller: Caller, desk: Desk) -> None:
    """Remove a job and its pictures, from disk and from memory, ending it first."""
    desk.dispatcher.delete(desk.store.get(job_id, caller))
    await desk.engine.forget()


async def wait_for(job: Job, request: Request, desk: DeskParts) -> Job:
    """The job once it is done; a caller who leaves cancels it. Raises its error."""
    ended = asyncio.ensure_future(desk.dispatcher.finished(job))
    try:
        while not ended.done():
            await asyncio.wait([ended], timeout=LOOK_S)
            if not ended.done() and await request.is_disconnected():
                desk.dispatcher.cancel(job)
    finally:
        if not ended.done():
            ended.cancel()
            desk.dispatcher.cancel(job)
    job = ended.result()
    if job.error is not None:
        raise FaceStudioError.from_dict(job.error)
    return job


def describe(job: Job, desk: DeskParts) -> JobFacts:
    """The job as callers see it."""
    result: dict[str, Any] = job.result or {"pictures": [], "settings": None}
    pictures = [
        Picture(
            url=None if facts.get("withheld") else f"/v1/jobs/{job.id}/pictures/{number}", **facts
        )
        for number, facts in enumerate(result["pictures"])
    ]
    return JobFacts(
        id=job.id,
        progress=desk.dispatcher.progress(job),
        created=job.created,
        deadline=job.deadline,
        started=job.started,
        finished=job.finished,
        asked=job.asked,
        pictures=pictures,
        settings=result["settings"],
        error=None if job.error is None else ErrorFacts.model_validate(job.error),
    )
