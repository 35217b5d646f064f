"""What a browser may do with our pages: run our scripts, and fetch from nowhere else.

Every script element of a page bears a number drawn for this one answer; what does not, does not
run. NiceGUI leaves two doors open that we cannot close: Vue compiles templates while it runs
('unsafe-eval'), and elements are placed by style attributes ('unsafe-inline' for styles).
"""

import secrets

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self' 'nonce-{number}' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
SCRIPT = b"<script"


class Policy:
    """An ASGI middleware for NiceGUI's part of the application.

    Within a page's scripts NiceGUI writes every < of what it shows as &lt;, so that the elements
    found here are its own.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and mark what comes back."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        number, held = secrets.token_urlsafe(18), _Held()

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers["Content-Security-Policy"] = POLICY.format(number=number)
                if headers.get("content-type", "").startswith("text/html"):
                    held.start = message
                    return
            elif held.start is not None:
                held.body += message.get("body", b"")
                if message.get("more_body", False):
                    return
                body = held.body.replace(SCRIPT, SCRIPT + f' nonce="{number}"'.encode())
                MutableHeaders(scope=held.start)["content-length"] = str(len(body))
                await send(held.start)
                message = {"type": "http.response.body", "body": body}
            await send(message)

        await self.app(scope, receive, marked)


class _Held:
    """An answer whose scripts are to be marked."""

    def __init__(self) -> None:
        self.start: Message | None = None
        self.body = b""
