"""A call of a tool that is required is made whatever the model would rather say: of a tool that was
offered, with arguments that fit, in the form of the model's own template (A4)."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import torch

from ownlm.inference.config import EngineConfig
from ownlm.inference.language_model import LM
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.serving.config import ServeConfig
from ownlm.serving.load import engines, served
from ownlm.serving.served import Served
from ownlm.serving.state import State
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.templates import OWN, with_template
from ownlm.tokenization.tokenizer import Tokenizer
from ownlm.tokenization.train import train_tokenizer

from . import published
from .conftest import Client

LLAMA = """\
{%- for message in messages %}{{- '<|im_start|>' + message.role + '\\n' }}
{%- if message.tool_calls %}{%- set call = message.tool_calls[0].function %}
{{- '{"name": "' + call.name + '", "parameters": ' + call.arguments | tojson + '}' }}
{%- else %}{{- message.content }}{%- endif %}{{- '<|im_end|>' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"""
MISTRAL = LLAMA.replace("{{- '{\"name", "{{- '[TOOL_CALLS] [{\"name").replace("'}' }}", "'}]' }}")
FORMS = {
    "text tags": ("<tool_call>", OWN, ()),
    "control tags": ("<tool_call>", OWN, ("<tool_call>", "</tool_call>")),
    "bare": ("{", LLAMA, ()),
    "unknown": ("{", MISTRAL, ()),
}
"""How an answer begins, the template, control tokens besides."""

TREE = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 3},
        "below": {"type": "array", "items": {"$ref": "#"}, "maxItems": 1},
    },
    "required": ["name", "below"],
    "additionalProperties": False,
}
PLACE = {
    "properties": {
        "sea": {"$ref": "#/definitions/Sea"},
        "depth": {"type": "integer", "minimum": 0, "maximum": 99},
        "note \"é\"": {"enum": ["<tool_call>", "</tool_call>", None]},
    },
    "required": ["sea", "depth", "note \"é\""],
    "additionalProperties": False,
    "definitions": {"Sea": {"enum": ["north", "south"]}},
}  # fmt: skip
SCHEMAS: dict[str, Any] = {"plant": TREE, "look": PLACE, "wait": None}
NOTHING = {"type": "object", "maxProperties": 0}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": schema or NOTHING}}
    for name, schema in SCHEMAS.items()
]
HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "tools": TOOLS}


@pytest.fixture(scope="module", params=FORMS)
def tiny(request: pytest.FixtureRequest) -> Iterator[tuple[Served, str]]:
    """A random model with one of the templates, and how its calls begin."""
    begin, source, controls = FORMS[request.param]
    tokenizer = tokenizer_with(source, controls)
    shape = {"vocab": tokenizer.vocab_size, "dim": 16, "heads": 4, "layers": 1, "context": 1500}
    model = build_model(ModelConfig(family="llama", **shape), seed=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(4 if parameter.ndim == 2 else 1)
    made = served("tiny", LM(model, tokenizer), engines(EngineConfig(rows=4), "float32"))
    yield made, begin
    made.close()


def tokenizer_with(source: str, controls: tuple[str, ...]) -> Tokenizer:
    """Bytes with the two tokens of turns, and further control tokens that decoding shows."""
    made = with_template(train_tokenizer(["héllo wörld"], TokenizerConfig(kind="byte")))
    spec = json.loads(made.definition)
    plain = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}
    spec["added_tokens"] += [
        {"id": made.vocab_size + number, "content": name, "special": False} | plain
        for number, name in enumerate(controls)
    ]
    return with_template(Tokenizer(json.dumps(spec), made.settings), source)


CHOICES: list[tuple[Any, set[str]]] = [
    ("required", {*SCHEMAS}),
    *(({"type": "function", "function": {"name": name}}, {name}) for name in SCHEMAS),
]


@pytest.mark.parametrize(("choice", "names"), CHOICES, ids=["any", *SCHEMAS])
def test_a_call_is_always_made(tiny: tuple[Served, str], choice: Any, names: set[str]) -> None:
    ask, called = Client(State(ServeConfig(), {"tiny": tiny[0]})), set()
    for seed in range(6):
        body = HELLO | {"tool_choice": choice, "seed": seed}
        (made,) = ask.post("/v1/chat/completions", body).json()["choices"]
        assert made["finish_reason"] == "tool_calls", made
        assert not made["message"]["content"]
        (call,) = made["message"]["tool_calls"]
        name, arguments = call["function"]["name"], call["function"]["arguments"]
        assert name in names
        schema = SCHEMAS[name] or NOTHING
        jsonschema_rs.Draft202012Validator(schema).validate(json.loads(arguments))
        called.add(name)
        assert streamed(ask, body) == (name, arguments)
    assert called == names or len(names) > 1


def streamed(ask: Client, body: dict[str, Any]) -> tuple[str, str]:
    """The name and the arguments that the pieces of a stream make."""
    name, arguments = "", ""
    for chunk in published.frames(ask.post("/v1/chat/completions", body | {"stream": True}).text):
        for delta in (choice["delta"] for choice in chunk["choices"]):
            assert not delta.get("content")
            for call in delta.get("tool_calls", ()):
                name += call["function"].get("name", "")
                arguments += call["function"]["arguments"]
    return name, arguments


def test_it_is_written_as_the_template_writes_it(tiny: tuple[Served, str]) -> None:
    made, begin = tiny
    ask = Client(State(ServeConfig(), {"tiny": made}))
    body = HELLO | {"tool_choice": "required", "seed": 3, "logprobs": True}
    (choice,) = ask.post("/v1/chat/completions", body).json()["choices"]
    tokens = [one["token"] for one in choice["logprobs"]["content"]]
    assert "".join(tokens).startswith(begin)
    assert ("<tool_call>" in tokens) == ("<tool_call>" in made.lm.tokenizer.special)


def test_a_call_or_an_answer_of_a_form(tiny: tuple[Served, str]) -> None:
    """With a form for the answer a model that may call does either."""
    ask = Client(State(ServeConfig(), {"tiny": tiny[0]}))
    schema = {"type": "object", "properties": {"wet": {"type": "boolean"}}, "required": ["wet"],
              "additionalProperties": False}  # fmt: skip
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    kinds = set()
    for seed in range(12):
        body = HELLO | {"response_format": form, "seed": seed}
        (choice,) = ask.post("/v1/chat/completions", body).json()["choices"]
        kinds.add(choice["finish_reason"])
        if choice["finish_reason"] == "stop":
            assert isinstance(json.loads(choice["message"]["content"])["wet"], bool)
    assert kinds <= {"stop", "tool_calls"}


def test_arguments_are_objects(ask: Client) -> None:
    tool = {"type": "function", "function": {"name": "a", "parameters": {"type": "string"}}}
    body = HELLO | {"tools": [tool], "tool_choice": "required"}
    response = ask.post("/v1/chat/completions", body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == "tools"
