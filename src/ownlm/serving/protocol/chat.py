"""/v1/chat/completions."""

from typing import Annotated, Any, Literal

from pydantic import Field

from ownlm.serving.protocol.body import Body, JsonSchema, Sampled, Text, Tokens, Tool

Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class TextPart(Body):
    """A part of a message. Only text: this server opens no address that a message names."""

    type: Literal["text"]
    text: Text


class RefusalPart(Body):
    """What the assistant said it would not do."""

    type: Literal["refusal"]
    refusal: Text


Part = Annotated[TextPart | RefusalPart, Field(discriminator="type")]


class CalledFunction(Body):
    """A function as it was called."""

    name: Annotated[str, Field(max_length=256)]
    arguments: str
    """JSON."""


class ToolCall(Body):
    """A call of a tool that the assistant made."""

    id: Annotated[str, Field(max_length=256)]
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None


class Message(Body):
    """Something that was said."""

    role: Role
    content: Text | Annotated[list[Part], Field(min_length=1)] | None = None
    name: str | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=128)] | None = None
    tool_call_id: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    function_call: None = None
    audio: None = None
    annotations: list[Any] | None = None

    def plain(self) -> dict[str, Any]:
        """As chat templates read it."""
        said = self.model_dump(
            exclude_none=True, exclude={"content", "annotations", "refusal", "tool_calls"}
        )
        if isinstance(self.content, list):
            said["content"] = "".join(
                part.text if isinstance(part, TextPart) else part.refusal for part in self.content
            )
        elif self.content is not None or self.refusal is not None:
            said["content"] = self.content if self.content is not None else self.refusal
        if self.tool_calls:
            kept = {"id", "type", "function"}
            said["tool_calls"] = [call.model_dump(include=kept) for call in self.tool_calls]
        return said


class ResponseFormat(Body):
    """What the answer must look like."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class NamedFunction(Body):
    """The name of a function."""

    name: Annotated[str, Field(max_length=64)]


class NamedTool(Body):
    """The tool that must be called."""

    type: Literal["function"]
    function: NamedFunction


class TemplateValues(Body):
    """What a chat template is told beside the messages."""

    enable_thinking: bool | None = None


class ChatBody(Sampled):
    """A conversation that is to be answered."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=10_000)]
    max_completion_tokens: Tokens | None = None
    max_tokens: Tokens | None = None
    """The older name of max_completion_tokens."""
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    chat_template_kwargs: TemplateValues | None = None
    store: Literal[False] | None = None
    """Nothing is ever stored."""
    metadata: dict[str, str] | None = None
    modalities: list[Literal["text"]] | None = None
    service_tier: str | None = None
    reasoning_effort: str | None = None
    verbosity: str | None = None
    prompt_cache_key: str | None = None
    safety_identifier: str | None = None
