"""/v1/responses."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ownlm.inference.request import Chosen
from ownlm.serving.answers import make_router, state_of
from ownlm.serving.generation import Job, Text, in_thread
from ownlm.serving.prompts import chat_plan
from ownlm.serving.protocol.chat import ChatBody
from ownlm.serving.protocol.responses import ResponseBody
from ownlm.serving.refusal import Json, Refusal
from ownlm.serving.response_events import Answer
from ownlm.serving.response_input import as_chat, refuse_memory
from ownlm.serving.routes.chat import turn_of
from ownlm.serving.stream import DONE, EventStream, answered, frame
from ownlm.serving.told import chat_logprobs

router: APIRouter = make_router()


@router.post("/v1/responses")
async def responses(body: ResponseBody, request: Request) -> Response:
    """Answer a conversation; nothing of it is kept."""
    state = state_of(request)
    refuse_memory(body)
    served = state.writer(body.model)
    chat = as_chat(body)
    plan = await in_thread(state, lambda: chat_plan(served, chat, state.options))
    job = Job(state, plan)
    answer = Answer(body, served.name)
    if body.stream:
        return EventStream(_frames(job, chat, answer), job.end)
    try:
        (text,) = await answered(request, job.texts())
    finally:
        job.end()
    turn = turn_of(chat)
    pieces = [*turn.pieces(text.text), *turn.pieces("", last=True)]
    for _ in answer.add(pieces, _logprobs(job, chat, text.tokens)):
        pass
    for _ in answer.finish(text.finish, _usage(job, text)):
        pass
    return Json(answer.response)


async def _frames(job: Job, chat: ChatBody, answer: Answer) -> AsyncGenerator[bytes, None]:
    turn, written, cached = turn_of(chat), 0, 0
    for told in answer.begin():
        yield frame(told, told["type"])
    try:
        async with aclosing(job.events()) as events:
            async for _, event in events:
                written, cached = written + len(event.tokens), max(cached, event.cached)
                pieces = turn.pieces(event.text)
                pieces += turn.pieces("", last=True) if event.finish else []
                for told in answer.add(pieces, _logprobs(job, chat, event.tokens)):
                    yield frame(told, told["type"])
                if event.finish:
                    numbers = counted(job.plan.prompt_tokens, written, cached)
                    for told in answer.finish(event.finish, numbers):
                        yield frame(told, told["type"])
    except Refusal as refusal:
        for told in answer.fail(str(refusal.detail)):
            yield frame(told, told["type"])
    yield DONE


def counted(read: int, written: int, cached: int) -> dict[str, Any]:
    """Numbers of tokens, as this interface gives them."""
    return {
        "input_tokens": read,
        "input_tokens_details": {"cached_tokens": min(read, cached), "cache_write_tokens": 0},
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": read + written,
    }


def _usage(job: Job, text: Text) -> dict[str, Any]:
    return counted(job.plan.prompt_tokens, len(text.tokens), text.cached)


def _logprobs(job: Job, chat: ChatBody, tokens: tuple[Chosen, ...]) -> list[dict[str, Any]]:
    if not chat.logprobs:
        return []
    return chat_logprobs(job.plan.served.lm.tokenizer, tokens)
