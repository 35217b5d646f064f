"""From a request of /v1/responses to a conversation as chat completions have it."""

from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from ownlm.serving.protocol.chat import ChatBody
from ownlm.serving.protocol.responses import (
    CallItem,
    FunctionTool,
    InputText,
    Item,
    MessageItem,
    OutputItem,
    RefusalText,
    ResponseBody,
)
from ownlm.serving.refusal import Refusal, bad

LOGPROBS = "message.output_text.logprobs"
"""In `include`."""


def refuse_memory(body: ResponseBody) -> None:
    """400 for what needs a server that keeps conversations."""
    asked: dict[str, Any] = {
        "previous_response_id": body.previous_response_id,
        "conversation": body.conversation,
        "prompt": body.prompt,
        "background": body.background or None,
        "truncation": "auto" if body.truncation == "auto" else None,
    }
    for name, value in asked.items():
        if value is not None:
            message = f"{name}: not supported, this server keeps nothing between requests"
            raise Refusal(400, message, param=name, code="unsupported_parameter")


def as_chat(body: ResponseBody) -> ChatBody:
    """The same request of /v1/chat/completions; 400 for more than a conversation may hold."""
    form = body.text.format if body.text else None
    wants = LOGPROBS in (body.include or ()) or bool(body.top_logprobs)
    given = {
        "model": body.model,
        "messages": messages_of(body),
        "max_completion_tokens": body.max_output_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
        "seed": body.seed,
        "logprobs": wants or None,
        "top_logprobs": body.top_logprobs,
        "tools": [_tool(tool) for tool in body.tools] if body.tools else None,
        "tool_choice": _choice(body.tool_choice),
        "response_format": _format(form) if form else None,
    }
    try:
        return ChatBody.model_validate({key: one for key, one in given.items() if one is not None})
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise bad(f"input: as a conversation, {place}: {fault['msg']}", "input") from None


def messages_of(body: ResponseBody) -> list[dict[str, Any]]:
    """The conversation; calls that follow each other are one message of the assistant."""
    said: list[dict[str, Any]] = []
    if body.instructions:
        said.append({"role": "system", "content": body.instructions})
    items: Sequence[Item | str] = [body.input] if isinstance(body.input, str) else body.input
    for item in items:
        if isinstance(item, str):
            said.append({"role": "user", "content": item})
        elif isinstance(item, MessageItem):
            said.append({"role": item.role, "content": _text(item.content)})
        elif isinstance(item, OutputItem):
            output = _text(item.output)
            said.append({"role": "tool", "tool_call_id": item.call_id, "content": output})
        else:
            if not said or said[-1]["role"] != "assistant":
                said.append({"role": "assistant"})
            said[-1].setdefault("tool_calls", []).append(_call(item))
    if not said:
        raise bad("input: expected a text or messages", "input")
    return said


def _text(content: str | Sequence[InputText | RefusalText]) -> str:
    if isinstance(content, str):
        return content
    return "".join(one.text if isinstance(one, InputText) else one.refusal for one in content)


def _call(item: CallItem) -> dict[str, Any]:
    function = {"name": item.name, "arguments": item.arguments}
    return {"id": item.call_id, "type": "function", "function": function}


def _tool(tool: FunctionTool) -> dict[str, Any]:
    return {"type": "function", "function": tool.model_dump(exclude={"type"}, exclude_none=True)}


def _choice(choice: Any) -> Any:
    if choice is None or isinstance(choice, str):
        return choice
    return {"type": "function", "function": {"name": choice.name}}


def _format(form: Any) -> dict[str, Any]:
    if form.type != "json_schema":
        return {"type": form.type}
    if form.schema_ is None:
        raise bad("text.format.schema: required", "text.format", "missing_required_parameter")
    return {
        "type": "json_schema",
        "json_schema": {"name": form.name or "answer", "schema": form.schema_},
    }
