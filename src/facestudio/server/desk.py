"""What routes see: the server's parts behind one object, and who is calling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from facestudio.errors import NotAllowed, NotReady
from facestudio.server.database import Database
from facestudio.server.dispatcher import Dispatcher
from facestudio.server.jobs import JobStore
from facestudio.server.keys import LOCAL, KeyStore
from facestudio.server.metrics import Metrics
from facestudio.server.people import People
from facestudio.server.settings import ServerSettings, is_loopback
from facestudio.server.work import Engine, ModelCard

HINT = "send the header Authorization: Bearer KEY; `facestudio serve add-key NAME` makes a key"

bearer = HTTPBearer(auto_error=False, description="An API key; on loopback it may be left out.")


@dataclass(eq=False)
class DeskParts:
    """Everything a request may need. `model` is None until the engine has loaded it."""

    settings: ServerSettings
    database: Database
    keys: KeyStore
    store: JobStore
    people: People
    engine: Engine
    dispatcher: Dispatcher
    metrics: Metrics
    model: ModelCard | None = None

    @property
    def card(self) -> ModelCard:
        """What the model is. Raises NotReady while it is being loaded."""
        if self.model is None:
            raise NotReady("the model is not loaded yet", hint="ask /ready first")
        return self.model


def find_desk(request: Request) -> DeskParts:
    """The parts of the app that serves this request."""
    desk: DeskParts = request.app.state.desk
    return desk


Desk = Annotated[DeskParts, Depends(find_desk)]


async def identify_caller(
    request: Request,
    desk: Desk,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> str:
    """The name of the API key, or "local" for a caller of this machine without one.

    Raises NotAllowed. Without a key, only what comes from this machine's own pages is let in:
    the Host must be loopback and so must the Origin, so that no web page of elsewhere gets in.
    """
    if given is not None:
        owner = desk.keys.owner(given.credentials)
        if owner is None:
            raise NotAllowed("this API key is unknown", hint=HINT)
        return owner
    if desk.settings.needs_key or "authorization" in request.headers:
        raise NotAllowed("an API key is needed", hint=HINT)
    origin = request.headers.get("origin")
    hosts = [request.headers.get("host", "")] + ([] if origin is None else [origin])
    if not all(_is_here(host) for host in hosts):
        raise NotAllowed("without an API key only this machine may ask", hint=HINT)
    return LOCAL


Caller = Annotated[str, Depends(identify_caller)]


def _is_here(address: str) -> bool:
    """Whether a Host header or an Origin names this machine."""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        return is_loopback(parts.hostname or "")
    except ValueError:
        return False
