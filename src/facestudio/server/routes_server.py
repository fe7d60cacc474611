"""/v1/models, /health, /ready and /metrics: about the server itself."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from facestudio.server.answers import Responses, problems
from facestudio.server.desk import Caller, Desk
from facestudio.server.schemas import Health, ModelFacts, ModelList

LIMITS = (
    "multiple", "height", "width", "guidance_scale", "num_inference_steps", "max_steps",
)  # fmt: skip

router = APIRouter(tags=["server"])
FIGURES: Responses = {200: {"description": "Prometheus' text.", "content": {"text/plain": {}}}}
STARTING: Responses = {503: {"model": Health, "description": "The model is still being loaded."}}


@router.get("/v1/models", responses=problems())
async def list_models(caller: Caller, desk: Desk) -> ModelList:
    """What this server draws with."""
    card = desk.card
    kept = {name: getattr(card.limits, name) for name in LIMITS}
    facts = ModelFacts(name=card.name, encoder=card.encoder, takes_words=card.takes_words, **kept)
    return ModelList(models=[facts])


@router.get("/health")
async def tell_health() -> Health:
    """Whether the server runs."""
    return Health(status="ok")


@router.get("/ready", responses=STARTING)
async def tell_ready(response: Response, desk: Desk) -> Health:
    """Whether the server can draw: 503 while the model is being loaded."""
    if desk.model is None:
        response.status_code = 503
        return Health(status="starting")
    return Health(status="ok")


@router.get("/metrics", response_class=Response, responses=FIGURES | problems())
async def tell_metrics(caller: Caller, desk: Desk) -> Response:
    """Figures for Prometheus; where keys are needed, give it one."""
    return Response(desk.metrics.text(), media_type=CONTENT_TYPE_LATEST)
