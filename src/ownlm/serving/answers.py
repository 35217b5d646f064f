"""What routes have in common: how bodies are read, and how answers begin."""

import asyncio
import datetime
import json
import secrets
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from ownlm import __version__
from ownlm.serving.refusal import bad
from ownlm.serving.served import Served
from ownlm.serving.state import State

LONG = 1 << 18
"""Bytes of a body that is read beside the event loop."""
ERRORS = {
    status: {"description": what}
    for status, what in {
        400: "a body that cannot be served; the error names the parameter and its limit",
        401: "no API key, or a wrong one",
        404: "no such model",
        413: "a body over the limit",
        415: "a body that is no application/json",
        503: "no room now, or not ready: come again after Retry-After seconds",
    }.items()
}


class StrictRequest(Request):
    """A request whose JSON is RFC 8259's: no NaN, no Infinity, no key twice."""

    async def json(self) -> Any:
        """The body; 400 for what is no JSON."""
        body = await self.body()
        try:
            return await asyncio.to_thread(_parsed, body) if len(body) > LONG else _parsed(body)
        except UnicodeDecodeError as error:
            raise bad(f"the body is no UTF-8: byte {error.start}") from None
        except RecursionError:
            raise bad("the body is nested too deeply") from None
        except ValueError as error:
            raise bad(f"the body is no JSON: {str(error)[:200]}") from None


class StrictRoute(APIRoute):
    """A route that reads bodies so."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's, with our request."""
        handle = super().get_route_handler()

        async def strict(request: Request) -> Response:
            return await handle(StrictRequest(request.scope, request.receive))

        return strict


def make_router() -> APIRouter:
    """A router of strict routes."""
    return APIRouter(route_class=StrictRoute, responses=ERRORS)  # type: ignore[arg-type]


def state_of(request: Request) -> State:
    """The server's state."""
    state: State = request.app.state.ownlm
    return state


def now() -> int:
    """Seconds since 1970, for `created`."""
    return int(datetime.datetime.now(datetime.UTC).timestamp())


def number(kind: str) -> str:
    """A new id."""
    return f"{kind}-{secrets.token_hex(12)}"


def begun(kind: str, what: str, served: Served) -> dict[str, Any]:
    """How an answer begins: id, object, created, model."""
    return {
        "id": number(kind),
        "object": what,
        "created": now(),
        "model": served.name,
        "system_fingerprint": f"ownlm-{__version__}",
    }


def _parsed(body: bytes) -> Any:
    return json.loads(body.decode("utf-8"), parse_constant=_refused, object_pairs_hook=_once)


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON number")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the key {name[:40]!a} comes twice")
            seen.add(name)
    return found
