"""Answers against OpenAI's published shapes: nothing missing, nothing of another type, no name that
is unknown.

openai-python's own types are generated from the published description, but let pass what they do
not know and fill in what is missing; here both are faults.
"""

import json
from typing import Annotated, Any, Literal, TypeVar, get_args

from openai.types import Model
from openai.types.responses import ResponseStreamEvent
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

T = TypeVar("T", bound=BaseModel)

EVENTS: dict[str, Any] = {
    get_args(kind.model_fields["type"].annotation)[0]: kind
    for kind in get_args(get_args(ResponseStreamEvent)[0])
}
"""Of a stream of /v1/responses, by their type."""
KNOWN = {
    "Response": {"store", "presence_penalty", "frequency_penalty"},
    "ResponseFunctionCallArgumentsDoneEvent": {"name"},
    "Model": {"max_model_len", "task", "labels"},
}
"""What answers have besides: of a response, names in the description of Open Responses; of its
event, what OpenAI's own description requires and openai-python lacks; of a model, vLLM's, ours."""
REQUIRED: dict[str, set[str]] = {
    "ChatCompletion": {"id", "choices", "created", "model", "object", "usage"},
    "ChatCompletionChunk": {"id", "choices", "created", "model", "object"},
    "chat.chat_completion.Choice": {"finish_reason", "index", "message", "logprobs"},
    "chat.chat_completion_chunk.Choice": {"delta", "finish_reason", "index"},
    "ChatCompletionMessage": {"role", "content", "refusal"},
    "ChatCompletionTokenLogprob": {"token", "logprob", "bytes", "top_logprobs"},
    "Response": {
        "id", "object", "created_at", "error", "incomplete_details", "instructions", "metadata",
        "model", "output", "parallel_tool_calls", "temperature", "tool_choice", "tools", "top_p",
        "status", "text", "truncation", "usage",
    },
    "ResponseOutputMessage": {"id", "type", "role", "content", "status"},
}  # fmt: skip
"""Keys that must be there, be they null."""


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Logprobs(Shape):
    """Of /v1/completions: its first token has none where the prompt is echoed, which the published
    description leaves out and the API does."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(Shape):
    index: int
    text: str
    logprobs: Logprobs | None
    finish_reason: Literal["stop", "length", "content_filter"]


class ChunkChoice(CompletionChoice):
    finish_reason: Literal["stop", "length", "content_filter"] | None  # type: ignore[assignment]


class CachedTokens(Shape):
    cached_tokens: int


class Usage(Shape):
    prompt_tokens: Annotated[int, Field(ge=0)]
    completion_tokens: Annotated[int, Field(ge=0)]
    total_tokens: Annotated[int, Field(ge=0)]
    prompt_tokens_details: CachedTokens


class Completion(Shape):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: Usage


class CompletionChunk(Completion):
    choices: list[ChunkChoice]  # type: ignore[assignment]
    usage: Usage | None = None  # type: ignore[assignment]


class Models(Shape):
    object: Literal["list"]
    data: list[Model]


class Vector(Shape):
    """openai-python asks for base64, but types numbers: it decodes before."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class ReadTokens(Shape):
    prompt_tokens: int
    total_tokens: int


class Vectors(Shape):
    object: Literal["list"]
    data: list[Vector]
    model: str
    usage: ReadTokens


class Error(Shape):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(Shape):
    error: Error


def valid(kind: type[T], content: Any) -> T:
    """The content as this type, checked strictly; JSON has no NaN."""
    text = json.dumps(content, allow_nan=False)
    made = TypeAdapter(kind).validate_json(text, strict=True)
    _complete(made, kind.__name__)
    return made


def _complete(made: Any, where: str) -> None:
    if isinstance(made, BaseModel):
        kind = type(made)
        extras = {*(made.model_extra or {})} - KNOWN.get(kind.__name__, set())
        assert not extras, f"{where}: unknown {sorted(extras)}"
        place = kind.__module__.removeprefix("openai.types.") + "." + kind.__name__
        wanted = REQUIRED.get(place, REQUIRED.get(kind.__name__, set()))
        assert wanted <= made.model_fields_set, f"{where}: {wanted - made.model_fields_set} missing"
        for name, value in made:
            _complete(value, f"{where}.{name}")
    elif isinstance(made, list):
        for place, value in enumerate(made):
            _complete(value, f"{where}[{place}]")
