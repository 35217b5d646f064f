"""What finetuned models do: labels and scores as vLLM shapes them, and tags, answers,
translations and summaries."""

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from starlette.responses import Response

from ownlm.data.tasks.predictions import Classified, Estimate, Prediction, Tagging
from ownlm.data.tasks.records import Record, Tagged
from ownlm.serving.answers import make_router, now, number, state_of
from ownlm.serving.protocol.tasks import AnswerBody, ScoreBody, TextsBody
from ownlm.serving.refusal import Json, bad
from ownlm.serving.routes.vectors import embedded
from ownlm.serving.served import Served
from ownlm.serving.stream import answered

router: APIRouter = make_router()
WRITTEN = ("seq2seq",)


@router.post("/classify")
async def classify(body: TextsBody, request: Request) -> Response:
    """The label of each text, and how likely each label is."""
    served = state_of(request).doer(body.model, ("classify", "pair"), "classify")
    said = await done(request, served, [served.record(text) for text in body.texts])
    data = []
    for place, one in enumerate(said):
        assert isinstance(one, Classified)
        probs = [float(one.probabilities[label]) for label in one.probabilities]
        label = one.labels[0] if one.labels else None
        found = {"index": place, "label": label, "labels": [*one.labels], "probs": probs}
        data.append(found | {"num_classes": len(probs)})
    return Json(await listed("classify", served, data, body.texts))


@router.post("/score")
@router.post("/v1/score")
async def score(body: ScoreBody, request: Request) -> Response:
    """How well texts go together: what a model of scores says of them, or the cosine of their
    vectors."""
    state = state_of(request)
    served = state.doer(body.model, ("embed", "regress"), "score pairs")
    first, second = body.sides
    if len(first) != len(second):
        raise bad(f"text_1: {len(first)} texts for {len(second)} in text_2", "text_1")
    assert served.tuned is not None
    if served.tuned.kind == "embed":
        vectors, _ = await answered(request, embedded(state, served, [*first, *second]))
        half = len(first)
        scores = [float(np.dot(vectors[n], vectors[half + n])) for n in range(half)]
    else:
        records = [served.record(a, b, "text_1") for a, b in zip(first, second)]
        said = await done(request, served, records)
        scores = [one.score for one in said if isinstance(one, Estimate)]
    data = [{"index": n, "object": "score", "score": float(one)} for n, one in enumerate(scores)]
    return Json(await listed("score", served, data, [*first, *second]))


@router.post("/v1/tag")
async def tag(body: TextsBody, request: Request) -> Response:
    """A tag for each word of each text."""
    served = state_of(request).doer(body.model, ("tag",), "tag")
    records = [served.record(text) for text in body.texts]
    said = await done(request, served, records)
    data = [
        {"index": place, "object": "tags", "words": _words(record, one)}
        for place, (record, one) in enumerate(zip(records, said))
    ]
    return Json(await listed("tag", served, data, body.texts))


@router.post("/v1/answer")
async def answer(body: AnswerBody, request: Request) -> Response:
    """The part of a context that answers a question; its text is empty where none does."""
    served = state_of(request).doer(body.model, ("span",), "answer questions")
    record = served.record(body.question, body.context, "question")
    (said,) = await done(request, served, [record])
    data = [{"index": 0, "object": "answer"} | said.as_dict()]
    return Json(await listed("answer", served, data, [body.question, body.context]))


@router.post("/v1/translate")
async def translate(body: TextsBody, request: Request) -> Response:
    """Each text in the language that the model was taught."""
    return await _written(body, request, "translate", "translation")


@router.post("/v1/summarize")
async def summarize(body: TextsBody, request: Request) -> Response:
    """Each text in short."""
    return await _written(body, request, "summarize", "summary")


async def _written(body: TextsBody, request: Request, verb: str, kind: str) -> Response:
    served = state_of(request).doer(body.model, WRITTEN, verb)
    said = await done(request, served, [served.record(text) for text in body.texts])
    data = [{"index": place, "object": kind} | one.as_dict() for place, one in enumerate(said)]
    return Json(await listed(verb, served, data, body.texts))


async def done(request: Request, served: Served, records: Sequence[Record]) -> list[Prediction]:
    """What the model says of records, within the limit on texts that wait."""
    state = state_of(request)
    ticket = state.admit(served, 1)
    try:
        return await answered(request, served.predict(records))
    finally:
        ticket.release()


async def listed(
    kind: str, served: Served, data: list[dict[str, Any]], texts: Sequence[str]
) -> dict[str, Any]:
    """A list as vLLM gives it; tokens are counted beside the event loop."""
    tokens = sum(map(len, await asyncio.to_thread(served.lm.tokenizer.encode_batch, texts)))
    counted = {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0}
    head = {"id": number(kind), "object": "list", "created": now(), "model": served.name}
    return head | {"data": data, "usage": counted}


def _words(record: Record, said: Prediction) -> list[dict[str, Any]]:
    assert isinstance(record, Tagged) and isinstance(said, Tagging)
    sure = said.probabilities or (None,) * len(said.tags)
    return [
        {"word": word, "tag": one, "probability": None if share is None else float(share)}
        for word, one, share in zip(record.words, said.tags, sure)
    ]
