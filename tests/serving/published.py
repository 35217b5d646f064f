"""Every answer that tests get from the server in memory, against what OpenAI publishes.

Always: openai-python's types, which are generated from the published description; strictly, and
without names that are not theirs or told in `KNOWN` (openai_shapes.py). And the description itself
(openapi.yaml or openapi.json of the repository openai/openai-openapi), where a copy is at hand:

    OWNLM_OPENAI_SPEC=openapi.json pytest tests/serving
"""

import copy
import functools
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema_rs
import yaml
from openai.types import Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from .openai_shapes import EVENTS, Completion, CompletionChunk, ErrorBody, Models, Vectors, valid

VARIABLE = "OWNLM_OPENAI_SPEC"
BESIDE = ("openai/openapi.json", "openai/openapi.yaml")
"""Where a copy may lie in the folder `shared` beside the repository."""


class Kind(NamedTuple):
    """What answers of an address are: types of ours, and names in the description."""

    whole: Any
    named: str
    chunk: Any = None
    chunk_named: str = ""


KINDS = {
    "/v1/chat/completions": Kind(
        ChatCompletion, "CreateChatCompletionResponse",
        ChatCompletionChunk, "CreateChatCompletionStreamResponse",
    ),
    "/v1/completions": Kind(
        Completion, "CreateCompletionResponse", CompletionChunk, "CreateCompletionResponse"
    ),
    "/v1/responses": Kind(Response, "Response", EVENTS, "ResponseStreamEvent"),
    "/v1/embeddings": Kind(Vectors, "CreateEmbeddingResponse"),
    "/v1/models": Kind(Models, "ListModelsResponse"),
    "/v1/models/": Kind(Model, "Model"),
}  # fmt: skip
"""By address; the last one is that of each model."""


def check(path: str, response: Any) -> None:
    """AssertionError or ValidationError for an answer that is not as published."""
    if not response.text:
        return  # to HEAD, and to those who left
    if response.status_code >= 400:
        one(ErrorBody, "ErrorResponse", response.json())
    kind = KINDS.get(path) or KINDS.get("/v1/models/" if path.startswith("/v1/models/") else "")
    if kind is None or response.status_code != 200:
        return
    if not response.headers["content-type"].startswith("text/event-stream"):
        one(kind.whole, kind.named, response.json())
        return
    for content in frames(response.text):
        if "error" in content and "type" not in content:
            one(ErrorBody, "ErrorResponse", content)
        else:
            chunk = kind.chunk[content["type"]] if kind.chunk is EVENTS else kind.chunk
            one(chunk, kind.chunk_named, content)


def one(kind: Any, named: str, content: Any) -> None:
    """An object as openai-python types it, and as the description says."""
    valid(kind, content)
    if described() is not None:
        validator(named)(content)


def frames(text: str) -> Iterator[Any]:
    """What the events of a stream hold, which ends with [DONE]."""
    *events, last, rest = text.split("\n\n")
    assert (last, rest) == ("data: [DONE]", "")
    for event in events:
        yield json.loads(event.rpartition("data: ")[2])


@functools.cache
def described() -> dict[str, Any] | None:
    """The schemas of the description, where there is a copy."""
    root = Path(__file__).resolve().parents[2]
    found = [root / above / "shared" / name for above in ("..", "../..") for name in BESIDE]
    given = os.environ.get(VARIABLE, "")
    path = Path(given) if given else next((one for one in found if one.is_file()), None)
    if path is None:
        return None
    text = path.read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    whole = json.loads(text) if path.suffix == ".json" else yaml.load(text, loader)
    return as_served(whole["components"]["schemas"])


@functools.cache
def validator(named: str) -> Callable[[Any], None]:
    """Raises jsonschema_rs.ValidationError for what is none of this."""
    schemas = described()
    assert schemas is not None
    assert named in schemas, f"the description has no {named}"
    place = {"$ref": f"#/components/schemas/{named}", "components": {"schemas": schemas}}
    return jsonschema_rs.Draft202012Validator(place).validate


def as_served(schemas: dict[str, Any]) -> dict[str, Any]:
    """The schemas with what OpenAI's API does and they leave out:

    - of /v1/completions a chunk has no finish_reason but the last, no usage but the last where
      usage is asked for, and the first token of an echoed prompt no probability;
    - a response has no usage until it is done (the description's own examples say so);
    - vectors in base64, which openai-python asks for, are strings.

    "nullable", a word of OpenAPI 3.0 that stands in this 3.1 description, is said as JSON schema.
    """
    schemas = copy.deepcopy(schemas)
    told = schemas["CreateCompletionResponse"]["properties"]
    choice = told["choices"]["items"]["properties"]
    logprobs = choice["logprobs"]["anyOf"][0]["properties"]
    lists = (logprobs["token_logprobs"]["items"], logprobs["top_logprobs"]["items"])
    begun = schemas["Response"]["allOf"][-1]["properties"]["usage"]
    for loose in (told["usage"], choice["finish_reason"], *lists, begun):
        loose["nullable"] = True
    vector = schemas["Embedding"]["properties"]
    vector["embedding"] = {"anyOf": [vector["embedding"], {"type": "string"}]}
    found: dict[str, Any] = _nullable(schemas)
    return found


def _nullable(value: Any) -> Any:
    if isinstance(value, list):
        return [_nullable(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    made = {key: _nullable(inner) for key, inner in value.items()}
    if made.get("nullable") is True:
        del made["nullable"]
        return {"anyOf": [made, {"type": "null"}]}
    return made
