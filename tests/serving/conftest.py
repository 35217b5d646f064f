"""A server in memory: a tiny model whose texts are made up by a service without one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
import torch

from ownlm.inference.language_model import LM
from ownlm.inference.request import Alternative, Chosen, Event, Request
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.serving.app import make_app
from ownlm.serving.config import ServeConfig
from ownlm.serving.served import Load, Served
from ownlm.serving.state import State
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.templates import with_template
from ownlm.tokenization.train import train_tokenizer

from . import published


class Scripted:
    """Writes what it is told, a token an event; counts what is running."""

    def __init__(self, lm: LM) -> None:
        self.lm, self.alive, self.closed = lm, True, False
        self.text = "A boat came in."
        self.finish, self.error = "stop", ""
        self.pause, self.wide = 0.0, 1
        self.running, self.asked = 0, list[Request]()

    async def stream(self, request: Request) -> AsyncIterator[Event]:
        self.asked.append(request)
        self.running += 1
        try:
            async for event in self._events(request):
                yield event
        finally:
            self.running -= 1

    async def _events(self, request: Request) -> AsyncIterator[Event]:
        prompt: tuple[Chosen | None, ...] = ()
        if request.prompt_logprobs is not None:
            prompt = (None, *(self.chosen(id, request) for id in request.prompt[1:]))
        text, finish = self.text, self.finish
        for stop in request.stop:
            text = text.partition(stop)[0]
        ids = self.lm.tokenizer.encode(text)
        if len(ids) > request.max_tokens:
            ids, finish = ids[: request.max_tokens], "length"
        stream = self.lm.tokenizer.stream()
        for place, id in enumerate(ids):
            await asyncio.sleep(self.pause)
            last = place == len(ids) - 1 and not self.error
            piece = stream.push(id) + (stream.end() if last else "")
            chosen = (self.chosen(id, request),)
            yield Event(piece * self.wide, chosen, finish if last else "", prompt=prompt)
            prompt = ()
        if self.error:
            yield Event(finish="error", error=self.error)
        elif not ids:
            yield Event(finish=finish, prompt=prompt)

    def chosen(self, id: int, request: Request) -> Chosen:
        if request.logprobs is None and request.prompt_logprobs is None:
            return Chosen(id)
        count = request.logprobs or 0
        return Chosen(id, -0.5, tuple(Alternative(id + n, -0.5 - n) for n in range(count)))

    def close(self) -> None:
        self.closed = True

    def load(self) -> Load:
        return Load(running=self.running)


@pytest.fixture(scope="session")
def writer() -> LM:
    """Random LLaMA over bytes with a chat template, context 1024."""
    tokenizer = with_template(train_tokenizer(["héllo wörld"], TokenizerConfig(kind="byte")))
    config = ModelConfig(
        family="llama", vocab=tokenizer.vocab_size, dim=16, heads=4, kv_heads=2, layers=2,
        context=1024,
    )  # fmt: skip
    model = build_model(config, seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(12)
    return LM(model, tokenizer)


@pytest.fixture
def scripted(writer: LM) -> Scripted:
    return Scripted(writer)


@pytest.fixture
def state(scripted: Scripted) -> State:
    """A state with one model `tiny` that says what `scripted` is told to."""
    return State(ServeConfig(), {"tiny": served_by(scripted)})


def served_by(scripted: Scripted, name: str = "tiny") -> Served:
    return Served(name, scripted.lm, scripted, load=scripted.load)


class Client:
    """Blocking requests to an application in memory; what it answers must be as published."""

    def __init__(self, state: State) -> None:
        self.app = make_app(state)

    def __call__(self, method: str, path: str, **given: Any) -> httpx2.Response:
        async def ask() -> httpx2.Response:
            transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
            base = "http://localhost:8000"
            async with httpx2.AsyncClient(transport=transport, base_url=base) as client:
                return await client.request(method, path, **given)

        response = asyncio.run(ask())
        published.check(path, response)
        return response

    def post(self, path: str, json: Any = None, **given: Any) -> httpx2.Response:
        return self("POST", path, **({"json": json} if json is not None else {}), **given)

    def get(self, path: str, **given: Any) -> httpx2.Response:
        return self("GET", path, **given)


@pytest.fixture
def ask(state: State) -> Client:
    return Client(state)
