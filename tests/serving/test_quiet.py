"""Nothing that a prompt names is opened: this server connects to nowhere (R9)."""

import socket
import threading
from typing import Any

import pytest

from .conftest import Client, Scripted


class Ears:
    """A listener that counts who comes."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.heard = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                self.socket.accept()[0].close()
            except OSError:
                return
            self.heard += 1


@pytest.fixture
def ears() -> Any:
    made = Ears()
    yield made
    made.socket.close()


def test_addresses_in_prompts_are_not_opened(
    ask: Client, scripted: Scripted, ears: Ears, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[Any] = []
    real = socket.socket.connect
    monkeypatch.setattr(
        socket.socket, "connect", lambda self, place: (tried.append(place), real(self, place))[1]
    )
    url = ears.url + "/x.png"
    scripted.text = f"![x]({url}) <img src={url}>"
    texts = [f"![x]({url})", f"<img src='{url}'>", url, f"file:///etc/passwd {url}"]
    for text in texts:
        messages = [{"role": "user", "content": text}]
        assert ask.post("/v1/chat/completions", {"messages": messages}).status_code == 200
        assert ask.post("/v1/completions", {"prompt": text}).status_code == 200
        assert ask.post("/v1/responses", {"input": text}).status_code == 200
        assert ask.post("/tokenize", {"prompt": text}).status_code == 200
    for part in (
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "input_audio", "input_audio": {"data": url, "format": "wav"}},
        {"type": "file", "file": {"file_data": url}},
    ):
        messages = [{"role": "user", "content": [part]}]  # type: ignore[dict-item]
        assert ask.post("/v1/chat/completions", {"messages": messages}).status_code == 400
    image = [{"type": "message", "role": "user",
              "content": [{"type": "input_image", "image_url": url}]}]  # fmt: skip
    assert ask.post("/v1/responses", {"input": image}).status_code == 400
    schema = {"$ref": url}
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    hello = {"messages": [{"role": "user", "content": "Hi"}], "response_format": form}
    ask.post("/v1/chat/completions", hello)
    assert ears.heard == 0
    assert not [place for place in tried if isinstance(place, tuple)]
    socket.create_connection(ears.socket.getsockname()).close()  # the ears do hear
    assert tried[-1] == ears.socket.getsockname()
