"""Refusals as OpenAI words them: {"error": {"message", "type", "param", "code"}}."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ownlm.config import nearest
from ownlm.errors import OwnlmError

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "service_unavailable_error",
}
"""By status; other refusals are invalid_request_error."""
_UNSAID = {
    404: "no such address; those of OpenAI begin with /v1",
    405: "this address does not take this method",
}
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
SHOWN = 80
"""Characters of a value that a message shows."""


class Refusal(HTTPException):
    """A request that is not served: the status and what its body says."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers) if headers else None)
        self.param, self.code = param, code

    @property
    def body(self) -> dict[str, Any]:
        """What the client reads."""
        kind = TYPES.get(self.status_code, "invalid_request_error")
        said = {"message": self.detail, "type": kind, "param": self.param, "code": self.code}
        return {"error": said}


class Json(Response):
    """A JSON answer; half a surrogate pair in it is written as an escape, as JSON allows."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return as_json(content)


def as_json(content: Any) -> bytes:
    """Compact JSON; NaN and infinity are faults of ours."""
    return _ENCODER.encode(content).encode("utf-8", "backslashreplace")


def answer(refusal: Refusal) -> Response:
    """The response for a refusal."""
    return Json(refusal.body, refusal.status_code, refusal.headers)


def busy(message: str, seconds: int = 1) -> Refusal:
    """Not now: 503, and when to come again."""
    return Refusal(503, message, code="overloaded", headers={"Retry-After": str(seconds)})


def no_such_model(name: str) -> Refusal:
    """404 for a model that is not in the table."""
    return Refusal(
        404, f"the model {short(name)} does not exist", param="model", code="model_not_found"
    )


def bad(message: str, param: str | None = None, code: str | None = None) -> Refusal:
    """400."""
    return Refusal(400, message, param=param, code=code)


def of_error(error: OwnlmError, param: str | None = None) -> Refusal:
    """400 for what this package refuses; its place and what mends it are told, paths are not."""
    what = error.what.partition("\n")[0]
    return bad(f"{error.where}: {what}" if "message" in error.where else what, param)


def short(value: Any) -> str:
    """A value as messages show it, cut and escaped."""
    if isinstance(value, str):
        return ascii(value if len(value) <= SHOWN else value[:SHOWN] + "…")
    if isinstance(value, list | dict):
        return f"{type(value).__name__} of {len(value)}"
    shown = repr(value) if not isinstance(value, int) or value.bit_length() < 300 else "a huge one"
    return shown if len(shown) <= SHOWN else shown[:SHOWN] + "…"


async def on_refusal(request: Request, error: Exception) -> Response:
    """For FastAPI: also its own, such as 404 and 405."""
    assert isinstance(error, HTTPException)
    if not isinstance(error, Refusal):
        message = _UNSAID.get(error.status_code, str(error.detail))
        error = Refusal(error.status_code, message, headers=error.headers)
    return answer(error)


async def on_invalid(request: Request, error: Exception) -> Response:
    """For FastAPI: a body of the wrong shape."""
    assert isinstance(error, RequestValidationError)
    return answer(of_faults(error.errors(), error.body))


def of_faults(faults: Sequence[Any], body: Any) -> Refusal:
    """400 that names the first fault that tells most: a range before a type, since of a union
    one member complains of the type whatever is wrong."""
    telling = [one for one in faults if not one["type"].endswith(("_type", "_error"))]
    fault = (telling or faults)[0]
    kind, place = fault["type"], fault["loc"][1:]
    param = where(place, body)
    if kind == "json_invalid":
        return bad(f"the body is no JSON: {fault['ctx']['error']}")
    if kind == "missing" and not place:
        return bad("the body is empty: expected a JSON object")
    if kind == "missing":
        param = ".".join(filter(None, [param, str(place[-1])]))
        return bad(f"{param}: required", param, "missing_required_parameter")
    if kind == "extra_forbidden":
        return bad(f"{param}: unknown parameter", param, "unknown_parameter")
    if not param:
        return bad(f"expected a JSON object, found {short(body)}")
    said = fault["msg"][:1].lower() + fault["msg"][1:]
    return bad(f"{param}: {said}, found {short(fault['input'])}", param, "invalid_value")


def where(place: Sequence[Any], body: Any) -> str:
    """The path of a value in the body, without what pydantic calls the members of unions."""
    path = []
    for part in place:
        inside = isinstance(body, dict) and part in body
        if inside or (isinstance(body, list) and isinstance(part, int) and part < len(body)):
            path.append(str(part))
            body = body[part]
    return ".".join(path)[:SHOWN]


def guess(name: str, known: list[str]) -> str:
    """ ", did you mean ...", where something is near."""
    near = nearest(name, known)
    return f", did you mean {near}?" if near else ""
