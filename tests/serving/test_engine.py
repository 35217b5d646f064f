"""The server with the real engine: the same text as without it, streamed or whole, alone or in
company; figures that can be counted (A3, A9, A11, L2)."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx2
import openai
import pytest
import torch

from ownlm.inference.config import EngineConfig, SamplingConfig
from ownlm.inference.language_model import LM
from ownlm.serving.app import make_app
from ownlm.serving.config import ServeConfig
from ownlm.serving.load import engines, served
from ownlm.serving.server import Server, address, in_background, listen
from ownlm.serving.state import State

PROMPTS = ["The harbour", "Noon.", "A boat came in, and nobody looked up", "é", "x" * 100]


@pytest.fixture(scope="module")
def url(writer: LM) -> Iterator[str]:
    """A server of the random model, with the real engine."""
    with ExitStack() as stack:
        config = ServeConfig(port=0)
        state = State(
            config, {"tiny": served("tiny", writer, engines(EngineConfig(rows=8), "float32"))}
        )
        made = listen(config)
        server = Server(make_app(state), state, [made])
        thread = in_background(server)
        stack.callback(thread.join, 20)
        stack.callback(server.handle_exit, 15, None)
        yield address(made)


@pytest.fixture
def ask(url: str) -> Iterator[Callable[..., Any]]:
    with httpx2.Client(base_url=url, timeout=60) as client:

        def post(path: str, **body: Any) -> Any:
            response = client.post(path, json={"model": "tiny"} | body)
            assert response.status_code == 200, response.text
            return response.json()

        yield post


def test_the_text_is_that_of_the_model(ask: Callable[..., Any], writer: LM) -> None:
    for prompt in PROMPTS:
        for temperature, seed in ((0.0, 0), (1.0, 5)):
            sampling = SamplingConfig(temperature=temperature, seed=seed)
            wanted = "".join(writer.stream(prompt, 30, sampling))
            body = {"prompt": prompt, "max_tokens": 30, "temperature": temperature, "seed": seed}
            assert ask("/v1/completions", **body)["choices"][0]["text"] == wanted


def test_alone_or_in_company_whole_or_streamed(ask: Callable[..., Any], url: str) -> None:
    bodies = [
        {"messages": [{"role": "user", "content": prompt}], "max_tokens": 20 + n, "seed": n}
        for n, prompt in enumerate(PROMPTS * 4)
    ]

    def said(body: dict[str, Any]) -> str:
        return str(ask("/v1/chat/completions", **body)["choices"][0]["message"]["content"])

    def streamed(body: dict[str, Any]) -> str:
        client = openai.OpenAI(base_url=url + "/v1", api_key="none", max_retries=0)
        chunks = client.chat.completions.create(model="tiny", stream=True, **body)
        return "".join(c.choices[0].delta.content or "" for c in chunks)

    alone = [said(body) for body in bodies]
    assert len({*alone}) > len(PROMPTS)
    with ThreadPoolExecutor(20) as pool:
        assert [*pool.map(said, bodies)] == alone
        assert [*pool.map(streamed, bodies)] == alone


def test_probabilities_are_those_of_the_model(ask: Callable[..., Any], writer: LM) -> None:
    text = "The harbour was quiet"
    ids = writer.tokenizer.encode(text)
    body = {"prompt": ids, "echo": True, "logprobs": 3, "max_tokens": 1, "temperature": 0}
    found = ask("/v1/completions", **body)["choices"][0]["logprobs"]
    with torch.no_grad():
        logits = writer.model(torch.tensor([ids])).logits[0].float()
    logits = logits[:, : writer.tokenizer.vocab_size]
    wanted = logits.log_softmax(-1)
    for place, id in enumerate(ids[1:], start=1):
        assert found["token_logprobs"][place] == pytest.approx(
            float(wanted[place - 1, id]), abs=1e-4
        )
        best = float(wanted[place - 1].max())
        assert max(found["top_logprobs"][place].values()) == pytest.approx(best, abs=1e-4)
    assert found["token_logprobs"][-1] == pytest.approx(float(wanted[-1].max()), abs=1e-4)


def test_answers_of_a_given_form(ask: Callable[..., Any]) -> None:
    schema = {
        "type": "object",
        "properties": {"place": {"enum": ["sea", "land"]}, "wet": {"type": "boolean"}},
        "required": ["place", "wet"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    messages = [{"role": "user", "content": "Where?"}]
    said = ask("/v1/chat/completions", messages=messages, response_format=form, seed=1)
    found = json.loads(said["choices"][0]["message"]["content"])
    assert found["place"] in ("sea", "land") and isinstance(found["wet"], bool)
    choice = {"choice": ["yes", "no"]}
    said = ask("/v1/completions", prompt="So?", structured_outputs=choice, seed=2)
    assert said["choices"][0]["text"] in ("yes", "no")
    tool = {"type": "function", "function": {"name": "look", "parameters": schema}}
    body: dict[str, Any] = {"messages": messages, "tools": [tool], "tool_choice": "required"}
    made = ask("/v1/chat/completions", seed=3, **body)["choices"][0]
    assert made["finish_reason"] == "tool_calls"
    (call,) = made["message"]["tool_calls"]
    assert call["function"]["name"] == "look"
    assert {*json.loads(call["function"]["arguments"])} == {"place", "wet"}


@pytest.mark.parametrize("stream", [False, True])
def test_a_constraint_that_is_none_is_refused_at_once(url: str, stream: bool) -> None:
    body = {"model": "tiny", "prompt": "a", "structured_outputs": {"regex": "["}, "stream": stream}
    response = httpx2.post(url + "/v1/completions", json=body, timeout=60)
    assert response.status_code == 400, response.text
    assert httpx2.get(url + "/health").status_code == 200


def test_ten_texts_of_ten_tokens_count_exactly(writer: LM) -> None:
    config = ServeConfig(port=0)
    state = State(
        config, {"tiny": served("tiny", writer, engines(EngineConfig(rows=4), "float32"))}
    )
    made = listen(config)
    server = Server(make_app(state), state, [made])
    thread = in_background(server)
    url = address(made)
    body = {"model": "tiny", "prompt": [70, 71], "max_tokens": 10, "ignore_eos": True}

    def post(_: int) -> int:
        return httpx2.post(url + "/v1/completions", json=body, timeout=60).status_code

    with ThreadPoolExecutor(10) as pool:
        assert {*pool.map(post, range(10))} == {200}
    text = httpx2.get(url + "/metrics").text
    server.handle_exit(15, None)
    thread.join(20)
    values = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if not line.startswith("#")
    }
    of = '{model_name="tiny"}'
    assert values[f"ownlm:time_to_first_token_seconds_count{of}"] == 10
    assert values[f"ownlm:inter_token_latency_seconds_count{of}"] == 90
    assert values[f"ownlm:generation_tokens_total{of}"] == 100
    assert values[f"ownlm:prompt_tokens_total{of}"] == 20
    assert values[f"ownlm:e2e_request_latency_seconds_count{of}"] == 10
    assert values[f"ownlm:num_requests_running{of}"] == 0
    assert values[f"ownlm:num_requests_waiting{of}"] == 0
    done = 'ownlm:request_success_total{finished_reason="length",model_name="tiny"}'
    assert values[done] == 10


@pytest.mark.slow
def test_half_of_two_hundred_leave(writer: LM) -> None:
    config = ServeConfig(port=0)
    make = engines(EngineConfig(rows=16), "float32")
    state = State(config, {"tiny": served("tiny", writer, make)})
    made = listen(config)
    server = Server(make_app(state), state, [made])
    thread = in_background(server)
    body = {"model": "tiny", "prompt": [70], "max_tokens": 40, "ignore_eos": True, "stream": True}

    async def ask(client: httpx2.AsyncClient, leave: bool) -> int:
        async with client.stream("POST", "/v1/completions", json=body) as response:
            async for line in response.aiter_lines():
                if leave:
                    return 0
                if line == "data: [DONE]":
                    return response.status_code
        return 0

    async def crowd() -> list[int]:
        limits = httpx2.Limits(max_connections=200)
        base = address(made)
        async with httpx2.AsyncClient(base_url=base, timeout=120, limits=limits) as client:
            return await asyncio.gather(*(ask(client, n % 2 == 0) for n in range(200)))

    assert asyncio.run(crowd()).count(200) == 100
    begun = time.perf_counter()
    load = state.models["tiny"].load
    while load().running or load().waiting:
        assert time.perf_counter() - begun < 2
        time.sleep(0.01)
    assert state.models["tiny"].unfinished == 0
    server.handle_exit(15, None)
    thread.join(20)
