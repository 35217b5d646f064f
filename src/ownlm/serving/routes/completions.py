"""/v1/completions."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ownlm.inference.request import Chosen, Event
from ownlm.serving.answers import begun, make_router, state_of
from ownlm.serving.generation import Job, Plan, Text, in_thread, usage
from ownlm.serving.prompts import completion_plan
from ownlm.serving.protocol.completions import CompletionBody
from ownlm.serving.refusal import Json
from ownlm.serving.stream import EventStream, Frames, answered, frame, with_end
from ownlm.serving.told import completion_logprobs

router: APIRouter = make_router()


@router.post("/v1/completions")
async def completions(body: CompletionBody, request: Request) -> Response:
    """Continue texts."""
    state = state_of(request)
    served = state.writer(body.model)
    plan = await in_thread(state, lambda: completion_plan(served, body, state.options))
    job = Job(state, plan)
    head = begun("cmpl", "text_completion", served)
    if body.stream:
        return EventStream(with_end(_chunks(job, body, head)), job.end)
    try:
        texts = await answered(request, job.texts())
    finally:
        job.end()
    written = sum(len(text.tokens) for text in texts)
    counted = usage(plan.prompt_tokens, written, max(text.cached for text in texts))
    choices = [
        _choice(place, number, texts[number], plan, body)
        for place, number in enumerate(chosen(texts, body))
    ]
    return Json(head | {"choices": choices, "usage": counted})


def chosen(texts: Sequence[Text], body: CompletionBody) -> list[int]:
    """The numbers of the texts that are given: the likeliest `n` behind each prompt."""
    n = body.n or 1
    copies = max(n, body.best_of or 1)
    found: list[int] = []
    for first in range(0, len(texts), copies):
        group = range(first, first + copies)
        best = group if copies == n else sorted(group, key=lambda one: -likelihood(texts[one]))
        found += best[:n]
    return found


def likelihood(text: Text) -> float:
    """Mean log-probability of its tokens."""
    return sum(one.logprob for one in text.tokens) / max(1, len(text.tokens))


def _choice(
    place: int, number: int, text: Text, plan: Plan, body: CompletionBody
) -> dict[str, Any]:
    prefix, before = echoed(plan, number, body, text.prompt)
    offset = 0 if body.echo else len(prompt_text(plan, number, body))
    return {
        "index": place,
        "text": prefix + text.text,
        "logprobs": _logprobs(plan, number, body, (*before, *text.tokens), offset),
        "finish_reason": text.finish,
    }


def echoed(
    plan: Plan, number: int, body: CompletionBody, prompt: tuple[Chosen | None, ...]
) -> tuple[str, tuple[Chosen | None, ...]]:
    """The prompt as text and tokens, where it is to be given."""
    if not body.echo:
        return "", ()
    return prompt_text(plan, number, body), prompt


def prompt_text(plan: Plan, number: int, body: CompletionBody) -> str:
    """The prompt behind which a text was written."""
    copies = max(body.n or 1, body.best_of or 1)
    prompt = body.prompts[number // copies]
    return prompt if isinstance(prompt, str) else plan.served.lm.tokenizer.decode(prompt)


async def _chunks(
    job: Job, body: CompletionBody, head: dict[str, Any]
) -> AsyncGenerator[bytes, None]:
    plan, written, cached = job.plan, 0, 0
    chunks = Frames(head | ({"usage": None} if body.wants_usage else {}))
    choices = [_Choice(plan, number, body) for number in range(len(plan.requests))]
    async with aclosing(job.events()) as events:
        async for number, event in events:
            written, cached = written + len(event.tokens), max(cached, event.cached)
            found = choices[number].more(event)
            if found["text"] or found["logprobs"] or event.finish:
                yield chunks(choices=[found])
    if body.wants_usage:
        counted = usage(plan.prompt_tokens, written, cached)
        yield frame(head | {"choices": [], "usage": counted})


class _Choice:
    """A text that is streamed."""

    def __init__(self, plan: Plan, number: int, body: CompletionBody) -> None:
        self.plan, self.number, self.body = plan, number, body
        self.begun = False
        self.offset = 0 if body.echo else len(prompt_text(plan, number, body))

    def more(self, event: Event) -> dict[str, Any]:
        """The chunk of an event."""
        plan, number, body = self.plan, self.number, self.body
        prefix, before = ("", ()) if self.begun else echoed(plan, number, body, event.prompt)
        tokens: tuple[Chosen | None, ...] = (*before, *event.tokens)
        text = prefix + event.text
        logprobs = _logprobs(plan, number, body, tokens, self.offset) if tokens else None
        self.begun, self.offset = True, self.offset + len(text)
        finish = event.finish or None
        return {"index": number, "text": text, "logprobs": logprobs, "finish_reason": finish}


def _logprobs(
    plan: Plan, number: int, body: CompletionBody, tokens: Sequence[Chosen | None], offset: int
) -> dict[str, Any] | None:
    if body.logprobs is None:
        return None
    prompt = plan.requests[number].prompt  # only its first token may have no probability
    ids = [one.token if one else prompt[at] for at, one in enumerate(tokens)]
    return completion_logprobs(plan.served.lm.tokenizer, tokens, ids, offset)
