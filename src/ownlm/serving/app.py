"""The application: every address behind the guard."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ownlm import __version__
from ownlm.errors import OwnlmError
from ownlm.log import warn
from ownlm.serving.guard import REQUEST_ID, Guard
from ownlm.serving.refusal import Refusal, answer, of_error, on_invalid, on_refusal
from ownlm.serving.routes import about, chat, completions, responses, tasks, tokens, vectors
from ownlm.serving.state import State
from ownlm.serving.stream import Left

ROUTERS = (about, chat, completions, responses, vectors, tasks, tokens)


def make_app(state: State) -> FastAPI:
    """The application of a server, ready to be run."""

    @asynccontextmanager
    async def alive(app: FastAPI) -> AsyncIterator[None]:
        yield
        for served in state.models.values():
            served.close()

    # No pages of documentation: FastAPI's load scripts from elsewhere.
    app = FastAPI(
        title="ownlm",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=alive,
    )
    app.state.ownlm = state
    for module in ROUTERS:
        app.include_router(module.router)
    app.add_exception_handler(HTTPException, on_refusal)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(OwnlmError, _on_error)
    app.add_exception_handler(Left, _on_left)
    app.add_exception_handler(Exception, _on_fault)
    app.add_middleware(Guard, options=state.options, keys=state.keys, is_page=state.is_page)
    return app


async def _on_error(request: Request, error: Exception) -> Response:
    """What the package itself refuses."""
    assert isinstance(error, OwnlmError)
    return answer(of_error(error))


async def _on_left(request: Request, error: Exception) -> Response:
    """Nobody reads this."""
    return Response(status_code=499)


async def _on_fault(request: Request, error: Exception) -> Response:
    """A fault of ours: told to whoever runs the server, not to the client."""
    number = request.scope.get("request_id", "")
    warn(f"request {number}: {type(error).__name__}: {str(error)[:300]!a}")
    message = f"a fault of the server; it is logged as request {number}"
    return answer(Refusal(500, message, headers={REQUEST_ID: number}))
