"""Who may ask, from where, and how much: before any address is reached (R4, R7, R8)."""

import asyncio
import base64
from collections.abc import Iterator
from typing import Any

import pytest

from ownlm.serving.app import make_app
from ownlm.serving.config import ServeConfig
from ownlm.serving.guard import OPEN
from ownlm.serving.state import State

from .conftest import Client, Scripted, served_by

KEY = "sk-correct-horse"
CHAT = "/v1/chat/completions"
HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}


def server(scripted: Scripted, *keys: str, **options: Any) -> Client:
    state = State(ServeConfig(**options), {"tiny": served_by(scripted)}, keys)
    state.page_paths.append("/page")
    return Client(state)


def routes(app: Any) -> Iterator[tuple[str, str]]:
    """All methods and paths, with something in the place of names."""
    found = app.openapi()["paths"]
    for path, methods in found.items():
        for method in methods:
            yield method.upper(), path.replace("{name}", "tiny")


def test_every_address_takes_the_key_but_those_that_are_open(scripted: Scripted) -> None:
    ask = server(scripted, KEY)
    every = [*routes(ask.app)]
    assert len(every) > 15
    others = [("GET", "/openapi.json"), ("GET", "/"), ("GET", "/nowhere"), ("POST", "/page")]
    for method, path in [*every, *others]:
        without = ask(method, path, headers={"content-type": "application/json"})
        assert without.status_code == (200 if path in OPEN else 401), path
        if path not in OPEN:
            assert without.json()["error"]["code"] == "invalid_api_key"
        right = ask(method, path, headers={"authorization": f"Bearer {KEY}"})
        assert right.status_code != 401, path


@pytest.mark.parametrize(
    ("path", "method"),
    [("/v1/models/", "GET"), ("//v1/models", "GET"), ("/V1/models", "GET"), (CHAT, "OPTIONS"),
     ("/v1/models?x=/health", "GET"), ("/health/", "GET"), ("/health/../v1/models", "GET"),
     ("/%68ealth/", "GET"), ("/v1/models", "HEAD"), ("/health%2f..%2fv1/models", "GET")],
)  # fmt: skip
def test_no_spelling_of_a_path_gets_around_the_key(
    scripted: Scripted, path: str, method: str
) -> None:
    assert server(scripted, KEY)(method, path).status_code == 401


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {KEY}", 200),
        (f"bearer  {KEY} ", 200),
        (f"Bearer {KEY}x", 401),
        (f"Bearer {KEY[:-1]}", 401),
        ("Bearer", 401),
        ("Bearer ", 401),
        (KEY, 401),
        (f"Token {KEY}", 401),
        (f"Bearer {KEY}, Bearer {KEY}", 401),
        ("Bearer schlüssel".encode(), 401),
        (b"Bearer \xff\xfe", 401),
        ("Basic " + base64.b64encode(f"me:{KEY}".encode()).decode(), 401),
    ],
)
def test_all_ways_to_send_a_key(scripted: Scripted, header: Any, status: int) -> None:
    ask = server(scripted, KEY, "another")
    assert ask.get("/v1/models", headers={"authorization": header}).status_code == status


def test_a_key_sent_twice_is_refused(scripted: Scripted) -> None:
    headers = [("authorization", f"Bearer {KEY}"), ("authorization", "Bearer x")]
    assert server(scripted, KEY).get("/v1/models", headers=headers).status_code == 401


def test_browsers_give_pages_the_key_as_a_password(scripted: Scripted) -> None:
    ask = server(scripted, KEY)
    without = ask.get("/page")
    assert without.headers["www-authenticate"].startswith("Basic")
    password = {"authorization": "Basic " + base64.b64encode(f"me:{KEY}".encode()).decode()}
    assert ask.get("/page", headers=password).status_code == 404
    assert ask.get("/page", headers={"authorization": "Basic %%%"}).status_code == 401


def test_without_a_key_this_machine_may_ask(ask: Client) -> None:
    assert ask.get("/v1/models").status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8000", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8000", 200),
        ("my.box", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("localhost/evil", 400),
        ("localhost?x", 400),
        ("localhost#x", 400),
        ("a@localhost", 400),
        ("localhost:80:80", 400),
        ("", 400),
    ],
)
def test_the_host_by_which_it_is_reached(scripted: Scripted, host: str, status: int) -> None:
    ask = server(scripted, allowed_host=("my.box",))
    assert ask.get("/v1/models", headers={"host": host}).status_code == status


def test_other_machines_may_name_it_as_they_like(scripted: Scripted) -> None:
    ask = server(scripted, KEY, host="0.0.0.0")
    headers = {"host": "box.lan", "authorization": f"Bearer {KEY}"}
    assert ask.get("/v1/models", headers=headers).status_code == 200


def test_no_origin_is_allowed_unless_named(scripted: Scripted) -> None:
    for origin in ("https://evil.example", "null", "http://localhost:3000"):
        response = server(scripted).get("/v1/models", headers={"origin": origin})
        assert not [h for h in response.headers if h.startswith("access-control")]
    ask = server(scripted, KEY, cors_origin=("https://my.site",))
    asking = {"origin": "https://my.site", "access-control-request-method": "POST"}
    allowed = ask("OPTIONS", CHAT, headers=asking)
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == "https://my.site"
    assert "access-control-allow-credentials" not in allowed.headers
    for origin in ("https://my.site.evil", "http://my.site", "https://MY.site", "null"):
        response = ask("OPTIONS", CHAT, headers=asking | {"origin": origin})
        assert response.status_code == 401
        assert "access-control-allow-origin" not in response.headers


def test_pages_take_no_posts_of_other_sites(scripted: Scripted) -> None:
    ask = server(scripted)
    evil = ask.post("/page", headers={"origin": "https://evil.example"})
    assert evil.status_code == 403
    own = ask.post("/page", headers={"origin": "http://localhost:8000"})
    assert own.status_code == 404  # it got there


def test_websockets_of_other_sites_are_closed(scripted: Scripted) -> None:
    app = make_app(State(ServeConfig(), {"tiny": served_by(scripted)}))
    app.state.ownlm.page_paths.append("/page")
    scope = {
        "type": "websocket", "path": "/page/ws", "raw_path": b"/page/ws", "query_string": b"",
        "headers": [(b"host", b"localhost:8000"), (b"origin", b"https://evil.example")],
        "scheme": "ws", "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000),
        "subprotocols": [], "asgi": {"version": "3.0"},
    }  # fmt: skip
    sent: list[Any] = []

    async def run() -> None:
        async def receive() -> Any:
            return {"type": "websocket.connect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)

    asyncio.run(run())
    assert [one["type"] for one in sent] == ["websocket.close"]
    assert sent[0]["code"] == 1008


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "application/jsonp"],
)  # fmt: skip
def test_only_json_is_read(ask: Client, kind: str) -> None:
    headers = {"content-type": kind} if kind else {}
    response = ask.post(CHAT, content=b'{"model": "tiny"}', headers=headers)
    assert response.status_code == 415
    assert "application/json" in response.json()["error"]["message"]


def test_a_body_over_the_limit_is_not_read(scripted: Scripted) -> None:
    ask = server(scripted, max_body_bytes=2000)
    taken = 0

    async def endless() -> Any:
        nonlocal taken
        while True:
            taken += 500
            yield b"x" * 500

    headers = {"content-type": "application/json"}
    response = ask.post(CHAT, content=endless(), headers=headers)
    assert response.status_code == 413
    assert "2000" in response.json()["error"]["message"]
    assert taken < 5000
    lying = ask.post(CHAT, content=b"{}", headers=headers | {"content-length": "100000000"})
    assert lying.status_code == 413
    for length in ("-1", "1e3", "9" * 30):
        wrong = ask.post(CHAT, content=b"{}", headers=headers | {"content-length": length})
        assert wrong.status_code == 400


def test_too_many_headers_or_too_long_ones(ask: Client) -> None:
    many = [(f"x-{number}", "1") for number in range(200)]
    assert ask.get("/v1/models", headers=many).status_code == 431
    long = ask.get("/v1/models", headers={"range": "bytes=" + "0-1," * 10_000})
    assert long.status_code == 431
    assert "16384" in long.json()["error"]["message"]


def test_every_answer_has_a_request_id(ask: Client) -> None:
    own = ask.get("/v1/models", headers={"x-request-id": "abc-1"})
    assert own.headers["x-request-id"] == "abc-1"
    forged = ask.get("/nowhere", headers={"x-request-id": "a b\tc"})
    assert forged.headers["x-request-id"].startswith("req-")
    assert ask.get("/v1/models").headers["x-request-id"] != forged.headers["x-request-id"]
    assert ask.get("/v1/models").headers["x-content-type-options"] == "nosniff"
