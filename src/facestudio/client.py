"""A client of `facestudio serve`: the pipeline's call, over HTTP.

    from facestudio import Client

    client = Client("http://127.0.0.1:8000")
    client.generate("anna.jpg", prompt="an ink drawing, smiling").images[0].save("anna.png")

Standard library only. Failures are the classes of `errors.py`, as if the pipeline ran here.
"""

from __future__ import annotations

import io
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from PIL import Image

from facestudio.errors import (
    BadOption,
    Busy,
    Cancelled,
    FaceStudioError,
    ServerFault,
    Unreachable,
)
from facestudio.images import PictureLike, read_picture

__all__ = ["Client", "Portraits", "RemoteJob"]

SAVED = "@"
UNSAFE = re.compile(r"[^\w .()-]")  # in a file name, for forms
MAX_PAUSE_S = 30.0

Facts = dict[str, Any]
OnProgress = Callable[[Facts], None]


@dataclass(frozen=True)
class Portraits:
    """What a finished job gives, as `FaceStudioOutput` has it.

    withheld: the seeds of pictures that the server's content checker calls explicit; they are in
    none of the other lists. Where it withholds all, `Withheld` is raised.
    """

    images: list[Image.Image]
    likeness: list[list[float | None]]
    seeds: list[int]
    settings: Facts
    withheld: list[int]


class Client:
    """Calls one server. A person is a picture, "@name", a list of people, or a mix as a dict."""

    def __init__(
        self, address: str = "http://127.0.0.1:8000", key: str | None = None, timeout_s: float = 60
    ) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadOption(f"{address!r} is no address; write http://host:port")
        self._kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._host, self._port, self._root = parts.hostname, parts.port, parts.path.rstrip("/")
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._timeout_s = timeout_s

    def generate(
        self, identity: Any = None, prompt: str | None = None, *,
        on_progress: OnProgress | None = None, patience_s: float = 600, **options: Any,
    ) -> Portraits:  # fmt: skip
        """The pictures, once they are drawn; options as `FaceStudioPipeline` takes them.

        on_progress hears the job after every change. While the queue is full it is asked again
        for `patience_s`. Ctrl-C cancels the job. Raises FaceStudioError.
        """
        job = self.submit(identity, prompt, patience_s=patience_s, **options)
        try:
            for facts in job.events():
                if on_progress is not None:
                    on_progress(facts)
        except KeyboardInterrupt:
            job.cancel()
            raise
        return job.result()

    def submit(
        self,
        identity: Any = None,
        prompt: str | None = None,
        *,
        patience_s: float = 0,
        **options: Any,
    ) -> RemoteJob:
        """A job that was accepted. Raises Busy if the queue is full for `patience_s`."""
        sent: dict[str, bytes] = {}
        asked = {name: value for name, value in options.items() if value is not None}
        for name in ("style", "image"):
            if name in asked:
                asked[name] = _send(asked[name], sent)
        asked |= {"identity": _name_people(identity, sent)}
        asked |= {} if prompt is None else {"prompt": prompt}
        end = time.monotonic() + patience_s
        while True:
            try:
                return RemoteJob(self, self._post_form("/v1/generate", asked, sent))
            except Busy as busy:
                left = end - time.monotonic()
                if left <= 0:
                    raise
                time.sleep(min(busy.retry_after_s, left, MAX_PAUSE_S))

    def job(self, job_id: str) -> RemoteJob:
        """A job that was accepted before. Raises NotFound."""
        return RemoteJob(self, self.call("GET", f"/v1/jobs/{quote(job_id, safe='')}"))

    def jobs(self) -> list[RemoteJob]:
        """All jobs of this key, the newest first."""
        return [RemoteJob(self, facts) for facts in self.call("GET", "/v1/jobs")["jobs"]]

    def faces(self, picture: PictureLike) -> list[Facts]:
        """The faces in a picture: `box`, `points`, `score`, `usable` of each."""
        sent: dict[str, bytes] = {}
        _send(picture, sent)
        faces: list[Facts] = self._post_form("/v1/faces", None, sent)["faces"]
        return faces

    def add_identity(
        self, name: str, *photos: PictureLike, largest: bool = False, replace: bool = False
    ) -> Facts:
        """Save the person these photos show, only with their consent."""
        sent: dict[str, bytes] = {}
        for photo in photos:
            _send(photo, sent)
        asked = {"name": name, "largest": largest, "replace": replace}
        return self._post_form("/v1/identities", asked, sent)

    def identities(self) -> list[Facts]:
        """The saved people of this key."""
        people: list[Facts] = self.call("GET", "/v1/identities")["identities"]
        return people

    def remove_identity(self, name: str) -> None:
        """Delete a saved person. Raises NotFound."""
        self.call("DELETE", f"/v1/identities/{quote(name.removeprefix(SAVED), safe='')}")

    def models(self) -> list[Facts]:
        """What the server draws with."""
        models: list[Facts] = self.call("GET", "/v1/models")["models"]
        return models

    def call(self, method: str, path: str) -> Facts:
        """The JSON that the server answers; raises its error."""
        with self.open(method, path) as answer:
            return _read_json(answer)

    @contextmanager
    def open(
        self, method: str, path: str, body: bytes | None = None, kind: str | None = None
    ) -> Iterator[HTTPResponse]:
        """The server's answer, to be read in the block. Raises its error, Unreachable."""
        connection = self._kind(self._host, self._port, timeout=self._timeout_s)
        headers = self._headers | ({} if kind is None else {"Content-Type": kind})
        try:
            connection.request(method, self._root + path, body, headers)
            answer = connection.getresponse()
            if answer.status >= 400:
                raise _to_error(answer)
            yield answer
        except (OSError, HTTPException) as problem:
            where = f"{self._host}:{self._port or self._kind.default_port}"
            hint = "is `facestudio serve` running there?"
            raise Unreachable(f"{where} does not answer: {problem}", hint=hint) from problem
        finally:
            connection.close()

    def _post_form(self, path: str, asked: Facts | None, sent: Mapping[str, bytes]) -> Facts:
        body, kind = to_form(asked, sent)
        with self.open("POST", path, body, kind) as answer:
            return _read_json(answer)


class RemoteJob:
    """A job on a server; `facts` is what was last heard of it."""

    def __init__(self, client: Client, facts: Facts) -> None:
        self._client = client
        self.facts = facts

    @property
    def id(self) -> str:
        """The job's name on the server."""
        return str(self.facts["id"])

    @property
    def status(self) -> str:
        """queued, running, done, failed or cancelled, as last heard."""
        return str(self.facts["progress"]["status"])

    def events(self) -> Iterator[Facts]:
        """The job after every change, until it has ended."""
        with self._client.open("GET", f"{self._path}/events") as answer:
            for line in answer:
                if line.startswith(b"data:"):
                    self.facts = json.loads(line[len(b"data:") :])
                    yield self.facts
        if self.status in ("queued", "running"):
            raise ServerFault("the server broke off", hint="ask for the job again by its id")

    def result(self) -> Portraits:
        """The pictures, once they are drawn. Raises the job's error."""
        if self.status in ("queued", "running"):
            for _ in self.events():
                pass
        if self.facts["error"] is not None:
            raise FaceStudioError.from_dict(self.facts["error"])
        if self.status != "done":
            raise Cancelled("the job was cancelled")
        told = [picture for picture in self.facts["pictures"] if not picture["withheld"]]
        withheld = [picture["seed"] for picture in self.facts["pictures"] if picture["withheld"]]
        images = [self._fetch(picture["url"]) for picture in told]
        likeness = [picture["likeness"] for picture in told]
        seeds = [picture["seed"] for picture in told]
        return Portraits(images, likeness, seeds, self.facts["settings"], withheld)

    def cancel(self) -> None:
        """End the job now."""
        self.facts = self._client.call("POST", f"{self._path}/cancel")

    def delete(self) -> None:
        """Remove the job and its pictures from the server."""
        self._client.call("DELETE", self._path)

    @property
    def _path(self) -> str:
        return f"/v1/jobs/{self.id}"

    def _fetch(self, url: str) -> Image.Image:
        with self._client.open("GET", url) as answer:
            image = Image.open(io.BytesIO(answer.read()))
        image.load()
        return image


def _name_people(identity: Any, sent: dict[str, bytes]) -> Any:
    """The settings' form of who is in the picture; photos are put into `sent`."""
    if isinstance(identity, list | tuple):
        return [_name_people(person, sent) for person in identity]
    if isinstance(identity, dict):
        return {"mix": {_name_people(face, sent): share for face, share in identity.items()}}
    if identity is None or (isinstance(identity, str) and identity.startswith(SAVED)):
        return identity
    return _send(identity, sent)


def _send(picture: PictureLike, sent: dict[str, bytes]) -> str:
    """The name under which the picture is sent; raises PictureError if it cannot be read."""
    image = read_picture(picture)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    named = Path(picture).name if isinstance(picture, str | Path) else "picture"
    name = f"{len(sent)}-{UNSAFE.sub('_', named)[-100:]}"
    sent[name] = buffer.getvalue()
    return name


def to_form(asked: Facts | None, sent: Mapping[str, bytes]) -> tuple[bytes, str]:
    """A form of `settings` and `pictures`, and its content type."""
    border = secrets.token_hex(16)
    parts: Sequence[tuple[str, bytes]] = [
        (f'name="pictures"; filename="{name}"', data) for name, data in sent.items()
    ]
    if asked is not None:
        parts = [('name="settings"', json.dumps(asked).encode()), *parts]
    lines = [
        f"--{border}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + data + b"\r\n"
        for head, data in parts
    ]
    body = b"".join([*lines, f"--{border}--\r\n".encode()])
    return body, f"multipart/form-data; boundary={border}"


def _read_json(answer: HTTPResponse) -> Facts:
    body = answer.read()
    facts: Facts = json.loads(body) if body else {}
    return facts


def _to_error(answer: HTTPResponse) -> FaceStudioError:
    """The error that the server tells, of its class."""
    try:
        error = FaceStudioError.from_dict(json.loads(answer.read())["error"])
    except (ValueError, KeyError, TypeError):
        return ServerFault(f"the server answers {answer.status} {answer.reason}")
    if isinstance(error, Busy):
        error.retry_after_s = int(answer.headers.get("Retry-After", 1))
    return error
