"""/tokenize and /detokenize, as vLLM has them."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ownlm.errors import OwnlmError
from ownlm.serving.answers import make_router, state_of
from ownlm.serving.prompts import conversation_ids, thinking_of
from ownlm.serving.protocol.tasks import DetokenizeBody, TokenizeBody
from ownlm.serving.refusal import Json, bad, of_error
from ownlm.serving.served import Served

router: APIRouter = make_router()


@router.post("/tokenize")
async def tokenize(body: TokenizeBody, request: Request) -> Response:
    """The ids of a text or of a conversation."""
    state = state_of(request)
    served = state.model(body.model)
    if (body.prompt is None) == (body.messages is None):
        raise bad("prompt: expected either prompt or messages", "prompt")
    async with state.reading:
        ids = await asyncio.to_thread(_ids, served, body)
    found: dict[str, Any] = {"count": len(ids), "max_model_len": served.context, "tokens": ids}
    if body.return_token_strs:
        found["token_strs"] = [served.lm.tokenizer.token(id) for id in ids]
    return Json(found)


@router.post("/detokenize")
async def detokenize(body: DetokenizeBody, request: Request) -> Response:
    """The text of ids."""
    state = state_of(request)
    served = state.model(body.model)
    highest = max(body.tokens, default=0)
    if highest >= served.vocab:
        raise bad(f"tokens: id {highest}, the model has 0 to {served.vocab - 1}", "tokens")
    decode = served.lm.tokenizer.decode
    async with state.reading:
        text = await asyncio.to_thread(decode, body.tokens, skip_special=False)
    return Json({"prompt": text})


def _ids(served: Served, body: TokenizeBody) -> list[int]:
    if body.messages is not None:
        plain = [message.plain() for message in body.messages]
        return conversation_ids(served, plain, thinking=thinking_of(body))
    tokenizer = served.lm.tokenizer
    try:
        ids = tokenizer.encode(body.prompt or "")
    except OwnlmError as error:
        raise of_error(error, "prompt") from None
    return ids if body.add_special_tokens is False else [*tokenizer.start, *ids]
