"""What stands before every address: who may ask, from where, and how much.

In this order, each before the next byte is read: headers within limits, the host by which the
server was reached (DNS rebinding), origins, the key (all addresses but `OPEN`), the type of the
content (a form of another site can send no JSON), and the size of the body, counted as it comes.
"""

import base64
import binascii
import hmac
import ipaddress
import re
import secrets
from collections.abc import Callable, Iterable
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ownlm.serving.config import LOOPBACK, ServeConfig
from ownlm.serving.refusal import Refusal, answer, short

OPEN = frozenset({"/health"})
"""Addresses that take no key."""
BODIES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
REQUEST_ID = "x-request-id"
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = "GET, POST, OPTIONS"
_ALLOWED = "Authorization, Content-Type, X-Request-Id"


class Guard:
    """An ASGI middleware."""

    def __init__(
        self,
        app: ASGIApp,
        options: ServeConfig,
        keys: Iterable[str] = (),
        is_page: Callable[[str], bool] = lambda path: False,
    ) -> None:
        """`is_page` tells the paths that a browser opens: these also take the key as a password,
        and content of any type."""
        self.app, self.options, self.is_page = app, options, is_page
        self.keys = [key.encode() for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what may pass."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        sent = headers.get(REQUEST_ID, "")
        number = sent if _ID.fullmatch(sent) else f"req-{secrets.token_hex(12)}"
        scope["request_id"] = number
        origin = headers.get("origin", "")
        shared = origin if origin in self.options.cors_origin else ""

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                _mark(MutableHeaders(scope=message), number, shared)
            await send(message)

        try:
            self._check(scope, headers, origin)
            if shared and scope.get("method") == "OPTIONS":
                await _preflight()(scope, receive, named)
                return
            self._check_key(scope, headers)
            if scope["type"] == "http" and not self.is_page(scope["path"]):
                receive = await self._body(scope, headers, receive)
        except Refusal as refusal:
            await _refuse(refusal, scope, receive, named)
            return
        await self.app(scope, receive, named)

    def _check(self, scope: Scope, headers: Headers, origin: str) -> None:
        """Headers, host and origin."""
        raw, limits = scope["headers"], self.options
        size = sum(len(name) + len(value) for name, value in raw)
        if len(raw) > limits.max_headers:
            raise Refusal(431, f"{len(raw)} headers: {limits.max_headers} is the limit")
        if size > limits.max_header_bytes:
            raise Refusal(431, f"headers of {size} bytes: {limits.max_header_bytes} is the limit")
        hosts = headers.getlist("host")
        host = name_of(hosts[0]) if len(hosts) == 1 else None
        if host is None:
            raise Refusal(400, "expected one Host header with a name and perhaps a port")
        if limits.is_local and host not in (*LOOPBACK, limits.host, *limits.allowed_host):
            raise Refusal(403, f"this server is not {short(host)}: --allowed-host allows a name")
        if self.is_page(scope["path"]) and origin:  # what a page of another site would send
            own = origin.partition("://")[2] == hosts[0]
            safe = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
            if not own and not safe and origin not in limits.cors_origin:
                raise Refusal(403, f"the origin {short(origin)} may not ask this")

    def _check_key(self, scope: Scope, headers: Headers) -> None:
        """401 without a key that is known, compared in constant time."""
        if not self.keys or scope["path"] in OPEN:
            return
        page = self.is_page(scope["path"])
        given = headers.getlist("authorization")
        key = key_of(given[0], page) if len(given) == 1 else b""
        # All are compared, so that time does not tell which one is near.
        if sum(hmac.compare_digest(key, known) for known in self.keys):
            return
        wanted = 'Basic realm="the API key is the password"' if page else "Bearer"
        said = "wrong API key" if given else "no API key: send Authorization: Bearer KEY"
        raise Refusal(401, said, code="invalid_api_key", headers={"WWW-Authenticate": wanted})

    async def _body(self, scope: Scope, headers: Headers, receive: Receive) -> Receive:
        """The body, read whole within its limit; what comes after it (that the client left) is
        asked of `receive`."""
        limit, length = self.options.max_body_bytes, headers.get("content-length", "0")
        if scope["method"] in BODIES:
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != "application/json":
                told = short(kind) if kind else "none"
                raise Refusal(415, f"content-type {told}: only application/json is read")
        if not length.isascii() or not length.isdigit() or len(length) > 18:
            raise Refusal(400, "the Content-Length is no number of bytes")
        if int(length) > limit:
            raise Refusal(413, f"a body of {length} bytes: {limit} is the limit")
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refusal(400, "the body ended early")
            part = message.get("body", b"")
            size, more = size + len(part), message.get("more_body", False)
            if size > limit:
                raise Refusal(413, f"a body of more than {limit} bytes, which is the limit")
            parts.append(part)
        return _replayed(b"".join(parts), receive)


def name_of(host: str) -> str | None:
    """The name in a Host header, without its port; None where it is none.

    >>> name_of("[::1]:8000"), name_of("LocalHost"), name_of("a/b")
    ('::1', 'localhost', None)
    """
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?", host)
    if not found:
        return None
    if found[1] is None:
        return str(found[2]).lower()
    try:
        return str(ipaddress.IPv6Address(found[1]))
    except ValueError:
        return None


def key_of(authorization: str, page: bool) -> bytes:
    """The key in an Authorization header; a browser sends it to a page as a password."""
    scheme, _, value = authorization.strip(" ").partition(" ")
    value = value.strip(" ")
    if scheme.lower() == "bearer":
        return value.encode("latin-1", "replace")
    if scheme.lower() == "basic" and page:
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return b""


def _replayed(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _mark(headers: MutableHeaders, number: str, shared: str) -> None:
    headers[REQUEST_ID] = number
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Cache-Control", "no-store")
    if shared:
        headers["Access-Control-Allow-Origin"] = shared
        headers.add_vary_header("Origin")


def _preflight() -> Response:
    said = {"Access-Control-Allow-Methods": _METHODS, "Access-Control-Allow-Headers": _ALLOWED}
    return Response(status_code=204, headers=said | {"Access-Control-Max-Age": "600"})


async def _refuse(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        closing: dict[str, Any] = {"type": "websocket.close", "code": 1008}
        await send(closing)
        return
    await answer(refusal)(scope, receive, send)
