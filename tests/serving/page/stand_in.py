"""What the pages ask of a server, small: models, and a writer that needs no engine."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import torch

from ownlm.data.tasks.predictions import Prediction
from ownlm.data.tasks.records import Record
from ownlm.inference.language_model import LM
from ownlm.inference.reading import Reply
from ownlm.inference.request import Alternative, Chosen, Event, Request
from ownlm.inference.sampling import Sampler
from ownlm.recipes.predict import predict
from ownlm.recipes.tuned import Tuned


class Writer:
    """A token an event, each from all before it; a text goes on to its limit whatever the seed."""

    def __init__(self, lm: LM, pause: float = 0.0) -> None:
        self.lm, self.pause = lm, pause
        self.asked: list[Request] = []
        self.left = 0
        """Texts whose reader went away before their end."""

    async def stream(self, request: Request) -> AsyncIterator[Event]:
        self.asked.append(request)
        tokenizer, sampler = self.lm.tokenizer, Sampler(request.sampling)
        model = Reply(self.lm.model, request.source) if request.source else self.lm.writer
        decoder, ids = tokenizer.stream(), [*request.prompt]
        cache, unread = model.new_cache(1, len(ids) + request.max_tokens), ids
        for id in ids:
            decoder.push(id)
        done = False
        try:
            for number in range(request.max_tokens):
                with torch.inference_mode():
                    logits = model(torch.tensor([unread]), cache=cache).last_logits[0]
                logits = logits[: tokenizer.vocab_size].float().clone()
                logits[[*request.ends]] = -torch.inf
                id = sampler(logits)
                unread = [id]
                ids.append(id)
                shares = logits.log_softmax(-1)
                best = shares.topk(request.logprobs or 1)
                top = tuple(map(Alternative, best.indices.tolist(), best.values.tolist()))
                done = number == request.max_tokens - 1
                tokens = (Chosen(id, float(shares[id]), top),)
                yield Event(decoder.push(id), tokens, "length" if done else "")
                if done:
                    return
                await asyncio.sleep(self.pause)
        finally:
            self.left += not done


class Served:
    """A model under its name."""

    def __init__(
        self,
        name: str,
        lm: LM,
        tuned: Tuned | None = None,
        *,
        writes: bool = True,
        pause: float = 0,
    ) -> None:
        self.name, self.lm, self.tuned = name, lm, tuned
        self.service = Writer(lm, pause) if writes else None

    async def predict(self, records: list[Record]) -> list[Prediction]:
        assert self.tuned is not None
        return [said.prediction for said in predict(self.tuned, records)]

    async def alone(self, work: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(work)


class State:
    """All of them."""

    def __init__(self, *models: Served) -> None:
        self.models = {served.name: served for served in models}
        self.phase = "ready"
        self.page_paths: list[str] = []
