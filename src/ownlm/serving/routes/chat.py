"""/v1/chat/completions."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ownlm.inference.request import Chosen
from ownlm.serving.answers import begun, make_router, state_of
from ownlm.serving.generation import Job, Plan, Text, in_thread, usage
from ownlm.serving.prompts import chat_plan, offered
from ownlm.serving.protocol.chat import ChatBody
from ownlm.serving.refusal import Json
from ownlm.serving.stream import EventStream, Frames, answered, frame, with_end
from ownlm.serving.told import chat_logprobs
from ownlm.serving.turn import Turn

router: APIRouter = make_router()


@router.post("/v1/chat/completions")
async def chat_completions(body: ChatBody, request: Request) -> Response:
    """Answer a conversation."""
    state = state_of(request)
    served = state.writer(body.model)
    plan = await in_thread(state, lambda: chat_plan(served, body, state.options))
    job = Job(state, plan)
    head = begun("chatcmpl", "chat.completion.chunk" if body.stream else "chat.completion", served)
    if body.stream:
        return EventStream(with_end(_chunks(job, body, head)), job.end)
    try:
        texts = await answered(request, job.texts())
    finally:
        job.end()
    choices = [_choice(number, text, body, plan) for number, text in enumerate(texts)]
    written = sum(len(text.tokens) for text in texts)
    counted = usage(plan.prompt_tokens, written, max(text.cached for text in texts))
    return Json(head | {"choices": choices, "usage": counted})


def _choice(number: int, text: Text, body: ChatBody, plan: Plan) -> dict[str, Any]:
    turn = turn_of(body)
    turn.push(text.text)
    turn.end()
    message: dict[str, Any] = {"role": "assistant", "content": turn.text, "refusal": None}
    if turn.calls:
        message |= {"content": turn.text or None, "tool_calls": turn.calls}
    return {
        "index": number,
        "message": message,
        "logprobs": _logprobs(plan, body, text.tokens),
        "finish_reason": turn.finish(text.finish),
    }


async def _chunks(job: Job, body: ChatBody, head: dict[str, Any]) -> AsyncGenerator[bytes, None]:
    """The role of each choice, what it says, how it ended; the numbers of tokens at last."""
    plan, written, cached = job.plan, 0, 0
    turns = [turn_of(body) for _ in plan.requests]
    chunks = Frames(head | ({"usage": None} if body.wants_usage else {}))

    def chunk(
        number: int, delta: dict[str, Any], logprobs: Any = None, finish: Any = None
    ) -> bytes:
        choice = {"index": number, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        return chunks(choices=[choice])

    for number in range(len(turns)):
        yield chunk(number, {"role": "assistant", "content": "", "refusal": None})
    async with aclosing(job.events()) as events:
        async for number, event in events:
            written, cached = written + len(event.tokens), max(cached, event.cached)
            turn = turns[number]
            deltas = turn.push(event.text) + (turn.end() if event.finish else [])
            logprobs = _logprobs(plan, body, event.tokens) if event.tokens else None
            if logprobs and not deltas:
                deltas = [{"content": ""}]
            parts = []
            for delta in deltas:
                parts.append(chunk(number, delta, logprobs))
                logprobs = None
            if event.finish:
                parts.append(chunk(number, {}, None, turn.finish(event.finish)))
            if parts:
                yield b"".join(parts)
    if body.wants_usage:
        counted = usage(plan.prompt_tokens, written, cached)
        yield frame(head | {"choices": [], "usage": counted})


def turn_of(body: ChatBody) -> Turn:
    """What reads an answer: it looks for calls where tools were offered."""
    return Turn([tool.function.name for tool in offered(body)])


def _logprobs(plan: Plan, body: ChatBody, tokens: tuple[Chosen, ...]) -> dict[str, Any] | None:
    if not body.logprobs:
        return None
    return {"content": chat_logprobs(plan.served.lm.tokenizer, tokens), "refusal": None}
