"""/v1/faces and /v1/identities: who is in a picture, and who is saved."""

from __future__ import annotations

import io
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from facestudio.errors import BadOption, NotFound
from facestudio.faces.detect import MIN_FACE_PX, Face
from facestudio.server.answers import Responses, leads_to, problems
from facestudio.server.desk import Caller, Desk
from facestudio.server.forms import form_body, picture_body
from facestudio.server.intake import check_pictures, parse, read_form, read_upload
from facestudio.server.schemas import (
    FaceFacts,
    FacesFound,
    IdentityFacts,
    IdentityList,
    NewIdentity,
)

PREVIEW: Responses = {200: {"description": "The picture.", "content": {"image/png": {}}}}
SAVED = {"description": "Whom the photos show."} | leads_to(
    {"name": "$response.body#/name"}, "show_identity", "fetch_preview", "remove_identity"
)

router = APIRouter(prefix="/v1", tags=["people"])
PersonName = Annotated[str, Path(max_length=64, examples=["anna"])]


@router.post("/faces", responses=problems(400, 413), openapi_extra=picture_body())
async def find_faces(request: Request, caller: Caller, desk: Desk) -> FacesFound:
    """The faces in a picture, left to right. The picture is not kept."""
    upload = await read_form(request, desk.settings)
    if len(upload.pictures) != 1 or upload.settings is not None:
        raise BadOption("send one picture in the form's field `pictures`, and nothing else")
    await check_pictures(upload.pictures, desk.settings)
    ((name, data),) = upload.pictures.items()
    (width, height), faces = await desk.engine.find_faces(data, name)
    return FacesFound(width=width, height=height, faces=[_describe_face(face) for face in faces])


@router.get("/identities", responses=problems())
async def list_identities(caller: Caller, desk: Desk) -> IdentityList:
    """The caller's saved people."""
    names = desk.people.of(caller).names()
    return IdentityList(identities=[desk.people.facts(caller, name) for name in names])


@router.post(
    "/identities",
    status_code=201,
    responses={201: SAVED, **problems(400, 409, 413)},
    openapi_extra=form_body(NewIdentity, pictures=1),
)
async def add_identity(request: Request, caller: Caller, desk: Desk) -> IdentityFacts:
    """Save whom the photos show, only with their consent. The photos are not kept."""
    upload = await read_upload(request, desk.settings)
    asked = parse(NewIdentity, upload.settings)
    if not upload.pictures:
        raise BadOption("no photo was sent", hint="send photos in the form's field `pictures`")
    store = desk.people.of(caller)
    store.check_free(asked.name, replace=asked.replace)
    await check_pictures(upload.pictures, desk.settings)
    person = await desk.engine.make_profile(upload.pictures, asked.largest)
    store.add(asked.name, person, replace=asked.replace)
    await desk.engine.forget()
    return desk.people.facts(caller, asked.name)


@router.get("/identities/{name}", responses=problems(404))
async def show_identity(name: PersonName, caller: Caller, desk: Desk) -> IdentityFacts:
    """What is known of a saved person."""
    return desk.people.facts(caller, name)


@router.get(
    "/identities/{name}/preview", response_class=Response, responses=PREVIEW | problems(404)
)
async def fetch_preview(name: PersonName, caller: Caller, desk: Desk) -> Response:
    """A small picture of a saved person, made by the model; no photo."""
    preview = desk.people.profile(caller, name).preview
    if preview is None:
        raise NotFound(f"there is no preview of {name}")
    buffer = io.BytesIO()
    preview.save(buffer, "PNG")
    return Response(buffer.getvalue(), media_type="image/png")


@router.delete("/identities/{name}", status_code=204, responses=problems(404))
async def remove_identity(name: PersonName, caller: Caller, desk: Desk) -> None:
    """Delete a saved person; nothing of them is left, on disk or in memory."""
    desk.people.remove(caller, name)
    await desk.engine.forget()


def _describe_face(face: Face) -> FaceFacts:
    return FaceFacts(
        box=[float(edge) for edge in face.box],
        points=[[float(x), float(y)] for x, y in face.points],
        score=float(face.score),
        usable=min(face.width, face.height) >= MIN_FACE_PX,
    )
