"""From a request's body to a job: limits in bytes, pixels and count, checked before it is kept."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from facestudio.errors import BadOption, NotAPicture, TooLarge
from facestudio.images import decode_picture
from facestudio.pipeline.batch import shape_of
from facestudio.pipeline.layout import settle
from facestudio.pipeline.request import Limits
from facestudio.server.answers import as_option
from facestudio.server.jobs import Job
from facestudio.server.people import People
from facestudio.server.schemas import Generate, Strict
from facestudio.server.settings import ServerSettings
from facestudio.server.work import check_names, names_in, people_of, to_request

MAX_SETTINGS_BYTES = 1_000_000
MAX_NAME = 200
READING_S = 60.0

S = TypeVar("S", bound=Strict)


@dataclass(frozen=True)
class Upload:
    """A request's body: settings as JSON text, if there are any; pictures by their file names."""

    settings: str | bytes | None
    pictures: dict[str, bytes]


async def read_upload(request: Request, settings: ServerSettings) -> Upload:
    """The body of a form with `settings` and maybe `pictures`, or JSON: the settings alone.

    Raises BadOption, TooLarge, NotAPicture.
    """
    if _content_type(request) != "application/json":
        return await read_form(request, settings)
    async with _in_time():
        return Upload(await request.body(), {})


async def read_form(request: Request, settings: ServerSettings) -> Upload:
    """The body of a form. Raises BadOption, TooLarge, NotAPicture."""
    kind = _content_type(request)
    if kind != "multipart/form-data":
        hint = "send multipart/form-data, or application/json where no picture is sent"
        raise BadOption(f"the content type is {kind[:100]!r}", hint=hint)
    async with (
        _in_time(),
        request.form(
            max_files=settings.max_pictures + 1, max_fields=2, max_part_size=MAX_SETTINGS_BYTES
        ) as form,
    ):
        return await _sort_fields(form, settings)


def parse(kind: type[S], text: str | bytes | None) -> S:
    """The settings in JSON text. Raises BadOption naming the first that is wrong."""
    if text is None:
        raise BadOption("the form has no field `settings`", hint="send the settings as JSON in it")
    try:
        return kind.model_validate_json(text)
    except ValidationError as problem:
        raise as_option(problem, "settings") from None


async def check_pictures(pictures: dict[str, bytes], settings: ServerSettings) -> None:
    """Raise NotAPicture or TooLarge for the first picture that cannot be read whole."""
    for name, data in pictures.items():
        await asyncio.to_thread(decode_picture, data, name, max_pixels=settings.max_pixels)


async def make_job(
    asked: Generate,
    upload: Upload,
    owner: str,
    people: People,
    limits: Limits,
    settings: ServerSettings,
) -> Job:
    """The job of a request, checked as far as is possible without drawing.

    Raises OptionError, PictureError, NotFound.
    """
    check_names(asked, list(upload.pictures))
    people.load(owner, names_in(asked))
    request = to_request(asked, people_of(asked), picture=lambda name: name)
    checked = settle(request, limits, most_px=settings.max_side_px)
    _check_limits(checked.frame, checked.num_inference_steps or 0, asked, settings)
    await check_pictures(upload.pictures, settings)
    shape = shape_of(checked)
    return Job(
        owner=owner,
        deadline=time.time() + min(asked.timeout_s or settings.timeout_s, settings.timeout_s),
        shape=None if shape is None else repr(shape),
        asked=asked.model_dump(mode="json", exclude_unset=True),
        pictures=tuple(upload.pictures),
    )


def _check_limits(
    frame: tuple[int, int], steps: int, asked: Generate, settings: ServerSettings
) -> None:
    wanted = {
        "height": (frame[0], settings.max_side_px),
        "width": (frame[1], settings.max_side_px),
        "num_inference_steps": (steps, settings.max_steps),
        "num_images_per_prompt": (asked.num_images_per_prompt, settings.max_images),
    }
    for name, (value, most) in wanted.items():
        if value > most:
            raise BadOption(f"{name}={value}: this server allows {most} at most")


def _content_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(READING_S):
            yield
    except TimeoutError:
        raise BadOption(f"the body did not arrive within {READING_S:.0f} seconds") from None


async def _sort_fields(form: FormData, settings: ServerSettings) -> Upload:
    text: str | bytes | None = None
    pictures: dict[str, bytes] = {}
    for field, value in form.multi_items():
        if field == "settings" and text is None:
            text = value if isinstance(value, str) else await value.read()
        elif field == "pictures" and isinstance(value, UploadFile):
            await _take(value, pictures, settings)
        else:
            hint = "a form has one `settings` with JSON, and files called `pictures`"
            raise BadOption(f"the form's field {field[:100]!r} is not understood", hint=hint)
    return Upload(text, pictures)


async def _take(file: UploadFile, pictures: dict[str, bytes], settings: ServerSettings) -> None:
    name = file.filename or ""
    if not 0 < len(name) <= MAX_NAME or name.startswith("@"):
        hint = f"use 1 to {MAX_NAME} characters, the first not @"
        raise BadOption(f"{name[:MAX_NAME]!r} is no name for a picture", hint=hint)
    if name in pictures:
        raise BadOption(f"two pictures are called {name!r}", hint="give each a name of its own")
    if len(pictures) >= settings.max_pictures:
        raise TooLarge(f"over {settings.max_pictures} pictures were sent; that is the most")
    data = await file.read()
    if not data:
        raise NotAPicture(f"{name} is empty (0 bytes)", file=name)
    pictures[name] = data
