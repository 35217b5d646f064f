"""Clients of others against a served model, unchanged: LangChain and lm-eval, each tested where it
is installed (A2). openai-python is in test_server.py and test_engine.py.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import torch

from ownlm.inference.config import EngineConfig
from ownlm.inference.language_model import LM
from ownlm.serving.app import make_app
from ownlm.serving.config import ServeConfig
from ownlm.serving.load import engines, served
from ownlm.serving.server import Server, address, in_background, listen
from ownlm.serving.state import State

from .conftest import Scripted, served_by

CALL = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": 2}}</tool_call>'
ADD = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a", "b"],
}
TOOL = {"type": "function", "function": {"name": "add", "description": "", "parameters": ADD}}
TEXTS = [
    ("The harbour was quiet", " at noon."),
    ("A boat came in,", " and nobody looked up from the rope"),
    ("é", " 漢字 😀"),
    ("", "Noon."),
]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def running(stack: ExitStack, models: dict[str, Any]) -> str:
    """The address of a server of these."""
    config = ServeConfig(port=0, api_key=("key",))
    state = State(config, models)
    made = listen(config)
    server = Server(make_app(state), state, [made])
    thread = in_background(server)
    stack.callback(thread.join, 20)
    stack.callback(server.handle_exit, 15, None)
    return address(made)


@pytest.fixture
def scripted_url(stack: ExitStack, scripted: Scripted) -> str:
    """A server whose model says what it is told to."""
    return running(stack, {"tiny": served_by(scripted)}) + "/v1"


@pytest.fixture
def real_url(stack: ExitStack, writer: LM) -> str:
    """A server of the random model."""
    make = engines(EngineConfig(rows=4), "float32")
    return running(stack, {"tiny": served("tiny", writer, make)}) + "/v1"


def test_langchain(scripted_url: str, scripted: Scripted) -> None:
    langchain = pytest.importorskip("langchain_openai")
    told: dict[str, Any] = {"model": "tiny", "base_url": scripted_url, "api_key": "key"}
    chat = langchain.ChatOpenAI(**told, max_retries=0, stream_usage=True)
    said = chat.invoke([("system", "Be brief."), ("user", "Hi")])
    assert said.content == scripted.text
    assert said.usage_metadata["output_tokens"] == len(scripted.text)
    pieces = [*chat.stream("Hi")]
    assert "".join(piece.content for piece in pieces) == scripted.text
    assert chat.bind(logprobs=True).invoke("Hi").response_metadata["logprobs"]["content"]
    scripted.text = CALL
    tools = chat.bind_tools([TOOL], tool_choice="required")
    (call,) = tools.invoke("1 + 2?").tool_calls
    assert (call["name"], call["args"]) == ("add", {"a": 1, "b": 2})
    whole = None
    for piece in tools.stream("1 + 2?"):
        whole = piece if whole is None else whole + piece
    assert whole is not None and whole.tool_calls[0]["args"] == {"a": 1, "b": 2}
    scripted.text = '{"a": 1, "b": 2}'
    formed = chat.with_structured_output({"title": "sum", **ADD}, method="json_schema")
    assert formed.invoke("1 + 2?") == {"a": 1, "b": 2}
    scripted.text = "A boat."
    text = langchain.OpenAI(**told, max_retries=0, max_tokens=50)
    assert text.invoke("Noon.") == scripted.text
    assert "".join(text.stream("Noon.")) == scripted.text
    answers = langchain.ChatOpenAI(**told, use_responses_api=True).invoke("Hi")
    assert answers.text == scripted.text if isinstance(answers.text, str) else answers.text()


def likelihood(lm: LM, ids: list[int], read: int) -> float:
    """Log-probability of all ids behind the first `read`, by the model itself."""
    with torch.no_grad():
        logits = lm.model(torch.tensor([ids])).logits[0].float()[:, : lm.tokenizer.vocab_size]
    logprobs = logits.log_softmax(dim=-1)
    return sum(float(logprobs[place - 1, ids[place]]) for place in range(read, len(ids)))


def likeliest(lm: LM) -> tuple[str, str]:
    """A text, and the letter that the model takes to be next."""
    for context in map(chr, range(65, 123)):
        with torch.no_grad():
            logits = lm.model(torch.tensor([lm.tokenizer.encode(context)])).logits[0, -1]
        said = lm.tokenizer.decode([int(logits[: lm.tokenizer.vocab_size].argmax())])
        if said.isascii() and said.isalnum():
            return context, said
    raise AssertionError("it never takes a letter")


@pytest.mark.parametrize("batch", [1, 3])
def test_lm_eval(
    real_url: str, writer: LM, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    pytest.importorskip("lm_eval")
    from lm_eval.api.instance import Instance
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    monkeypatch.setenv("OPENAI_API_KEY", "key")
    writer.save(tmp_path)
    model = LocalCompletionsAPI(
        base_url=real_url + "/completions", model="tiny", tokenizer=str(tmp_path),
        tokenizer_backend="huggingface", max_length=1024, batch_size=batch, max_gen_toks=20,
    )  # fmt: skip
    encode = writer.tokenizer.encode

    def asked(kind: str, arguments: Any) -> Any:
        return Instance(request_type=kind, doc={}, arguments=arguments, idx=0)

    found = model.loglikelihood([asked("loglikelihood", pair) for pair in TEXTS])
    for (context, rest), (logprob, greedy) in zip(TEXTS, found):
        read = encode(context) or [model.prefix_token_id]
        ids = [*read, *encode(rest)]
        assert logprob == pytest.approx(likelihood(writer, ids, len(read)), abs=1e-4)
        assert not greedy
    context, likely = likeliest(writer)
    ((_, greedy),) = model.loglikelihood([asked("loglikelihood", (context, likely))])
    assert greedy
    text = "A boat came in, and nobody looked up. " * 10
    (whole,) = model.loglikelihood_rolling([asked("loglikelihood_rolling", (text,))])
    ids = [model.prefix_token_id, *encode(text)]
    assert whole == pytest.approx(likelihood(writer, ids, 1), abs=1e-3)
    settings = {"until": ["\n\n"], "max_gen_toks": 12, "temperature": 0.0}
    (said,) = model.generate_until([asked("generate_until", ("Noon.", settings))])
    assert "".join(writer.stream("Noon.", 12)).startswith(said)
