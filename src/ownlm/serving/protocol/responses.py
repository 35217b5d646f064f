"""/v1/responses, without a memory: the conversation comes whole each time."""

from typing import Annotated, Any, Literal

from pydantic import Field

from ownlm.serving.protocol.body import Body, Named, Text, Tokens

ItemId = Annotated[str, Field(max_length=256)]
Status = Literal["in_progress", "completed", "incomplete"]


class InputText(Body):
    """A part of a message."""

    type: Literal["input_text", "output_text", "text"]
    text: Text
    annotations: list[Any] | None = None
    logprobs: list[Any] | None = None


class RefusalText(Body):
    """What the assistant said it would not do."""

    type: Literal["refusal"]
    refusal: Text


class MessageItem(Body):
    """Something that was said."""

    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Text | Annotated[list[InputText | RefusalText], Field(min_length=1)]
    id: ItemId | None = None
    status: Status | None = None
    phase: str | None = None


class CallItem(Body):
    """A call of a function that the assistant made."""

    type: Literal["function_call"]
    call_id: ItemId
    name: Annotated[str, Field(max_length=256)]
    arguments: str
    id: ItemId | None = None
    status: Status | None = None


class OutputItem(Body):
    """What a function returned."""

    type: Literal["function_call_output"]
    call_id: ItemId
    output: Text | list[InputText]
    id: ItemId | None = None
    status: Status | None = None


Item = MessageItem | CallItem | OutputItem


class FunctionTool(Body):
    """A function that the model may call."""

    type: Literal["function"]
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class NamedChoice(Body):
    """The function that must be called."""

    type: Literal["function"]
    name: Annotated[str, Field(max_length=64)]


class Format(Body):
    """What the text must look like."""

    type: Literal["text", "json_object", "json_schema"]
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")] | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    description: str | None = None
    strict: bool | None = None


class TextOptions(Body):
    """How text is given."""

    format: Format | None = None
    verbosity: str | None = None


class Reasoning(Body):
    """Not used."""

    effort: str | None = None
    summary: str | None = None


class ResponseBody(Named):
    """A conversation that is to be answered."""

    input: Text | Annotated[list[Item], Field(min_length=1, max_length=10_000)]
    instructions: Text | None = None
    max_output_tokens: Annotated[Tokens, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    text: TextOptions | None = None
    tools: Annotated[list[FunctionTool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedChoice | None = None
    parallel_tool_calls: bool | None = None
    metadata: Annotated[dict[str, str], Field(max_length=16)] | None = None
    store: bool | None = None
    """Nothing is ever stored; answers say so."""
    include: list[str] | None = None
    reasoning: Reasoning | None = None
    truncation: Literal["auto", "disabled"] | None = None
    max_tool_calls: int | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    prompt: dict[str, Any] | None = None
