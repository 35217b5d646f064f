"""What there is and how it is: models, version, health, metrics."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ownlm import __version__
from ownlm.serving.answers import make_router, now, state_of
from ownlm.serving.refusal import Json, busy, no_such_model
from ownlm.serving.served import Served

router: APIRouter = make_router()
SINCE = now()


@router.get("/v1/models")
async def models(request: Request) -> Response:
    """All models."""
    state = state_of(request)
    return Json({"object": "list", "data": [told(one) for one in state.models.values()]})


@router.get("/v1/models/{name:path}")
async def model(name: str, request: Request) -> Response:
    """One model."""
    found = state_of(request).models.get(name)
    if found is None:
        raise no_such_model(name)
    return Json(told(found))


@router.get("/version")
async def version() -> Response:
    """Of this program."""
    return Json({"version": __version__})


@router.get("/health")
async def health(request: Request) -> Response:
    """200 when requests are served; 503 while models are loaded, and when one has stopped."""
    state = state_of(request)
    if state.healthy:
        return Json({"status": "ok"})
    dead = [name for name, served in state.models.items() if not served.alive]
    raise busy("stopped after a fault" if state.phase == "ready" and dead else state.phase, 5)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Figures for Prometheus."""
    text = state_of(request).metrics.text()
    return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")


def told(served: Served) -> dict[str, Any]:
    """A model as OpenAI lists it, with what vLLM and we add."""
    found = {
        "id": served.name,
        "object": "model",
        "created": SINCE,
        "owned_by": "ownlm",
        "max_model_len": served.context,
        "task": served.does,
    }
    if served.tuned and served.tuned.task.labels:
        found["labels"] = [*served.tuned.task.labels]
    return found
