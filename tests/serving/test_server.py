"""A server on a socket: the real client, clients that leave, that are slow, and that are many; and
its end (A1, R5, R6, R11)."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import httpx2
import openai
import pytest

from ownlm.errors import ConfigError
from ownlm.serving.app import make_app
from ownlm.serving.config import ServeConfig
from ownlm.serving.server import Server, address, in_background, listen, require_key
from ownlm.serving.state import State

from .conftest import Scripted, served_by

HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}


class Running:
    def __init__(self, scripted: Scripted, loading: bool = False, **options: Any) -> None:
        config = ServeConfig(port=0, **options)
        self.state = State(config, None if loading else {"tiny": served_by(scripted)})
        self.socket = listen(config)
        self.url = address(self.socket)
        self.server = Server(make_app(self.state), self.state, [self.socket])
        self.thread = in_background(self.server)

    def stop(self) -> None:
        self.server.handle_exit(15, None)
        self.thread.join(20)
        assert not self.thread.is_alive()

    def open(self) -> socket.socket:
        host, port = self.socket.getsockname()
        return socket.create_connection((host, port), timeout=20)

    def gauge(self) -> float:
        text = httpx2.get(self.url + "/metrics").text
        line = next(x for x in text.splitlines() if x.startswith("ownlm:num_requests_running{"))
        return float(line.split()[-1])


Start = Callable[..., Running]


@pytest.fixture
def start(scripted: Scripted) -> Iterator[Start]:
    with ExitStack() as stack:

        def run(**options: Any) -> Running:
            running = Running(scripted, **options)
            stack.callback(running.stop)
            return running

        yield run


def until(true: Callable[[], bool], seconds: float = 10.0) -> float:
    begun = time.perf_counter()
    while not true():
        assert time.perf_counter() - begun < seconds
        time.sleep(0.01)
    return time.perf_counter() - begun


def posted(path: str, body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head.encode() + f"Content-Length: {len(content)}\r\n\r\n".encode() + content


def test_the_real_client(start: Start, scripted: Scripted) -> None:
    running = start(api_key=("key",))
    client = openai.OpenAI(base_url=running.url + "/v1", api_key="key", max_retries=0)
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "ownlm"
    messages: Any = HELLO["messages"]
    made = client.chat.completions.create(model="tiny", messages=messages)
    assert made.choices[0].message.content == scripted.text
    with client.chat.completions.stream(model="tiny", messages=messages) as stream:
        for _ in stream:
            pass
        assert stream.get_final_completion().choices[0].message.content == scripted.text
    text = client.completions.create(model="tiny", prompt="a", max_tokens=4)
    assert text.choices[0].text == scripted.text[:4]
    response = client.responses.create(model="tiny", input="Hi")
    assert response.output_text == scripted.text
    with client.responses.stream(model="tiny", input="Hi") as events:
        assert events.get_final_response().output_text == scripted.text
    with pytest.raises(openai.BadRequestError) as bad:
        client.chat.completions.create(model="tiny", messages=messages, temperature=3)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="other", messages=messages)
    assert missing.value.code == "model_not_found"
    other = openai.OpenAI(base_url=running.url + "/v1", api_key="wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        other.models.list()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("first", [False, True])
def test_who_leaves_takes_no_place(
    start: Start, scripted: Scripted, stream: bool, first: bool
) -> None:
    running = start()
    scripted.text, scripted.pause = "x" * 400, 0.02 if first else 5.0
    connection = running.open()
    connection.sendall(posted("/v1/chat/completions", HELLO | {"stream": stream}))
    until(lambda: scripted.running == 1)
    if stream and first:
        assert connection.recv(1000)
    assert running.gauge() == 1
    connection.close()
    assert until(lambda: scripted.running == 0) < 1
    assert running.gauge() == 0
    served = running.state.models["tiny"]
    until(lambda: served.unfinished == 0)
    failures = running.state.metrics.failure.labels("tiny")
    assert failures._value.get() == 1


def test_who_does_not_read_is_cut_off(start: Start, scripted: Scripted) -> None:
    running = start(stall_seconds=0.5)
    scripted.text, scripted.wide = "x" * 400, 30_000
    connection = running.open()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(posted("/v1/chat/completions", HELLO | {"stream": True}))
    until(lambda: scripted.running > 0)
    until(lambda: running.state.models["tiny"].unfinished == 0)
    received = 0
    with suppress(ConnectionError):
        while part := connection.recv(1 << 16):
            received += len(part)
    assert received < 400 * 30_000


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET /v1/mod", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-",
     b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
     b"Content-Length: 100\r\n\r\n{"],
    ids=["nothing", "line", "headers", "body"],
)  # fmt: skip
def test_who_sends_too_slowly_is_cut_off(start: Start, sent: bytes) -> None:
    running = start(header_seconds=0.4, body_seconds=0.4)
    connection = running.open()
    connection.sendall(sent)
    begun = time.perf_counter()
    try:
        for _ in range(100):  # a byte now and then does not help
            time.sleep(0.1)
            connection.sendall(b"x" if sent else b"")
            connection.setblocking(False)
            try:
                if connection.recv(100) == b"":
                    break
            except BlockingIOError:
                pass
            connection.setblocking(True)
    except ConnectionError:
        pass
    assert 0.3 < time.perf_counter() - begun < 3


def test_a_thousand_headers_and_ten_megabytes_of_one(start: Start) -> None:
    running = start()
    for headers in (b"".join(b"X-%d: 1\r\n" % n for n in range(10_000)), b"X: " + b"y" * 10**7):
        connection = running.open()
        answer = b""
        with suppress(ConnectionError):  # refused before all was sent
            connection.sendall(
                b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n\r\n"
            )
        try:
            answer = connection.recv(1000)
        except ConnectionError:
            continue
        assert answer.split()[1] in (b"400", b"431")
    assert httpx2.get(running.url + "/health").status_code == 200


def test_a_connection_serves_one_request_after_the_other(start: Start) -> None:
    running = start(header_seconds=0.5)
    with httpx2.Client() as client:
        for _ in range(3):
            assert client.get(running.url + "/v1/models").status_code == 200
            time.sleep(0.7)  # longer than headers may take: nothing has begun
    connection = running.open()
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    connection.sendall(request * 3)  # pipelined
    received = b""
    while received.count(b"HTTP/1.1 200") < 3:
        received += connection.recv(4096)


def test_more_than_there_is_room_for_are_told_to_come_again(
    start: Start, scripted: Scripted
) -> None:
    running = start(max_waiting=8)
    served = running.state.models["tiny"]
    served.rows = 8
    scripted.pause = 0.02

    async def all_at_once() -> list[httpx2.Response]:
        limits = httpx2.Limits(max_connections=300)
        async with httpx2.AsyncClient(limits=limits, timeout=60) as client:
            url = running.url + "/v1/chat/completions"
            return await asyncio.gather(*(client.post(url, json=HELLO) for _ in range(300)))

    answers = asyncio.run(all_at_once())
    assert {one.status_code for one in answers} == {200, 503}
    for one in answers:
        if one.status_code == 503:
            assert int(one.headers["retry-after"]) >= 1
            assert one.json()["error"]["code"] == "overloaded"
    assert served.unfinished == scripted.running == 0
    assert httpx2.post(running.url + "/v1/chat/completions", json=HELLO).status_code == 200
    many = HELLO | {"n": 17}
    refused = httpx2.post(running.url + "/v1/chat/completions", json=many)
    assert refused.status_code == 400
    assert "16" in refused.json()["error"]["message"]


def test_health_tells_of_loading_and_of_death(start: Start, scripted: Scripted) -> None:
    running = start(loading=True)
    url = running.url
    assert httpx2.get(url + "/health").status_code == 503
    loading = httpx2.post(url + "/v1/chat/completions", json=HELLO)
    assert loading.status_code == 503
    assert "loaded" in loading.json()["error"]["message"]
    running.state.ready({"tiny": served_by(scripted)})
    assert httpx2.get(url + "/health").status_code == 200
    scripted.alive = False
    assert httpx2.get(url + "/health").status_code == 503
    assert httpx2.post(url + "/v1/chat/completions", json=HELLO).status_code == 503


def test_the_end_waits_for_what_runs(start: Start, scripted: Scripted) -> None:
    running = start()
    scripted.text, scripted.pause = "x" * 50, 0.02
    found: list[str] = []

    def ask() -> None:
        with httpx2.stream(
            "POST", running.url + "/v1/chat/completions", json=HELLO | {"stream": True}, timeout=30
        ) as response:
            found.append(response.read().decode())

    thread = threading.Thread(target=ask)
    thread.start()
    until(lambda: scripted.running == 1)
    running.stop()
    thread.join()
    assert found[0].endswith("data: [DONE]\n\n")
    assert found[0].count('"content":"x"') == 50
    assert scripted.closed


def test_the_end_waits_no_longer_than_it_may(start: Start, scripted: Scripted) -> None:
    running = start(drain_seconds=0.5)
    scripted.text, scripted.pause = "x" * 400, 0.5
    connection = running.open()
    connection.sendall(posted("/v1/chat/completions", HELLO | {"stream": True}))
    until(lambda: scripted.running == 1)
    begun = time.perf_counter()
    running.stop()
    assert time.perf_counter() - begun < 10
    assert scripted.running == 0


def test_a_port_that_is_taken(start: Start) -> None:
    running = start()
    with pytest.raises(ConfigError, match="another program listens there"):
        listen(ServeConfig(port=running.socket.getsockname()[1]))


def test_other_machines_need_a_key() -> None:
    with pytest.raises(ConfigError, match="without a key"):
        require_key(ServeConfig(host="0.0.0.0"), [])
    require_key(ServeConfig(host="0.0.0.0"), ["key"])
    require_key(ServeConfig(host="0.0.0.0", open=True), [])
    require_key(ServeConfig(), [])
    with pytest.raises(ConfigError, match="ASCII"):
        require_key(ServeConfig(), ["schlüssel"])
