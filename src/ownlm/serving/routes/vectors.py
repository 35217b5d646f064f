"""/v1/embeddings and /pooling: texts as vectors."""

import asyncio
import base64
from collections.abc import Sequence

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from ownlm.data.encoded import Encoded
from ownlm.errors import OwnlmError
from ownlm.objectives.tasks.embed import Embed
from ownlm.serving.answers import make_router, now, number, state_of
from ownlm.serving.protocol.tasks import EmbeddingBody
from ownlm.serving.refusal import Json, Refusal, bad, of_error
from ownlm.serving.served import Served, Vector
from ownlm.serving.state import State
from ownlm.serving.stream import answered

router: APIRouter = make_router()


@router.post("/v1/embeddings")
async def embeddings(body: EmbeddingBody, request: Request) -> Response:
    """Texts, or ids, as vectors of length one, in order."""
    state = state_of(request)
    served = state.doer(body.model, ("embed",), "embed")
    vectors, tokens = await answered(request, embedded(state, served, body.inputs))
    width = len(vectors[0])
    if body.dimensions not in (None, width):
        said = f"dimensions: the model's vectors have {width}, found {body.dimensions}"
        raise bad(said, "dimensions")
    shown = _base64 if body.encoding_format == "base64" else _floats
    data = [
        {"object": "embedding", "index": place, "embedding": shown(vector)}
        for place, vector in enumerate(vectors)
    ]
    counted = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Json({"object": "list", "data": data, "model": served.name, "usage": counted})


@router.post("/pooling")
async def pooling(body: EmbeddingBody, request: Request) -> Response:
    """The same in vLLM's shape."""
    state = state_of(request)
    served = state.doer(body.model, ("embed",), "embed")
    vectors, tokens = await answered(request, embedded(state, served, body.inputs))
    shown = _base64 if body.encoding_format == "base64" else _floats
    data = [
        {"object": "pooling", "index": place, "data": shown(vector)}
        for place, vector in enumerate(vectors)
    ]
    head = {"id": number("pool"), "object": "list", "created": now(), "model": served.name}
    return Json(head | {"data": data, "usage": {"prompt_tokens": tokens, "total_tokens": tokens}})


async def embedded(
    state: State, served: Served, inputs: Sequence[str | Sequence[int]]
) -> tuple[list[Vector], int]:
    """A vector of each input, and how many tokens were read, within the limit on texts that
    wait."""
    assert served.tuned is not None, "the route has looked"
    task = served.tuned.task
    assert isinstance(task, Embed)

    def read() -> list[Encoded]:
        return [_item(served, task, one, place) for place, one in enumerate(inputs)]

    ticket = state.admit(served, 1)
    try:
        async with state.reading:
            items = await asyncio.to_thread(read)
        return await served.embed(items), sum(len(item.ids) for item in items)
    finally:
        ticket.release()


def _item(served: Served, task: Embed, given: str | Sequence[int], place: int) -> Encoded:
    """An input with its marks. 400 for one that the model cannot read whole: nothing is cut."""
    try:
        ids = task.tokenizer.encode(task.prefix + given) if isinstance(given, str) else [*given]
    except OwnlmError as error:
        raise of_error(error, "input") from None
    most, highest = task.marks.room(1), max(ids, default=0)
    if not ids:
        raise bad(f"input.{place}: a text without tokens", "input")
    if highest >= served.vocab:
        raise bad(f"input: id {highest}, the model has 0 to {served.vocab - 1}", "input")
    if len(ids) > most:
        message = f"input.{place}: {len(ids)} tokens, {most} is the limit"
        raise Refusal(400, message, param="input", code="context_length_exceeded")
    made = task.marks(ids)
    return Encoded(made.ids, place, made.segments)


def _floats(vector: Vector) -> list[float]:
    return [float(value) for value in vector.tolist()]


def _base64(vector: Vector) -> str:
    """Little-endian float32, as openai-python asks for unless told otherwise."""
    return base64.b64encode(np.asarray(vector, "<f4").tobytes()).decode("ascii")
