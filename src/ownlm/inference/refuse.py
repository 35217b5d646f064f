"""Requests that cannot be answered, and why."""

from collections.abc import Sequence

from ownlm.errors import ConfigError
from ownlm.inference.blocks import Blocks
from ownlm.inference.language_model import LM
from ownlm.inference.request import Request
from ownlm.inference.sampling import Sampler
from ownlm.inference.searching import writing
from ownlm.inference.storage import room


def check(request: Request, lm: LM, blocks: Blocks, *, context: int, vocab: int) -> None:
    """ConfigError for a request that a model of this context and so many ids cannot answer."""
    if not request.prompt:
        raise ConfigError("a prompt has at least one token", where="prompt")
    if bool(request.source) is not lm.answers:
        what = "needs something to read" if lm.answers else "reads its prompt only"
        raise ConfigError(f"{lm.model.family.name} {what}", where="source")
    for name, ids in (("prompt", request.prompt), ("source", request.source)):
        _check_ids(name, ids, context, vocab)
    for name in ("max_tokens", "min_tokens", "logprobs", "prompt_logprobs"):
        if (getattr(request, name) or 0) < 0:
            raise ConfigError(f"expected 0 or more, found {getattr(request, name)}", where=name)
    _check_search(request)
    if len(request.prompt) > room(blocks, request):
        what = "memory does not hold it beside its source, or as often as there are beams"
        raise ConfigError(what, where="prompt")


def _check_ids(name: str, ids: Sequence[int], context: int, vocab: int) -> None:
    if len(ids) > context:
        what = f"{len(ids)} tokens are more than the context of {context}"
        raise ConfigError(what, where=name)
    if wrong := [id for id in ids if not 0 <= id < vocab]:
        what = f"{wrong[0]} is no token: ids are 0 to {vocab - 1}"
        raise ConfigError(what, where=name)


def _check_search(request: Request) -> None:
    """What a text that is searched for cannot have."""
    writing(request)
    if request.searches and not Sampler(request.sampling).plain:
        raise ConfigError("a text that is searched for is not sampled", where="sampling")
    for name in ("logprobs", "constraint"):
        if request.searches and getattr(request, name) is not None:
            raise ConfigError("not for a text that is searched for", where=name)
