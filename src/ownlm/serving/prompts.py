"""From what a client sends to what the engine reads. Runs beside the event loop."""

import dataclasses
import functools
import secrets
from collections.abc import Sequence
from typing import Any

from ownlm.errors import OwnlmError
from ownlm.inference.config import SamplingConfig
from ownlm.inference.request import Constraint, Request
from ownlm.models.model import EncoderDecoder
from ownlm.serving.config import ServeConfig
from ownlm.serving.generation import Plan
from ownlm.serving.protocol.body import Sampled
from ownlm.serving.protocol.chat import ChatBody, NamedTool
from ownlm.serving.protocol.completions import CompletionBody
from ownlm.serving.refusal import Refusal, bad, of_error
from ownlm.serving.schema import any_object, of_named, of_structured, of_tools
from ownlm.serving.served import Served
from ownlm.tokenization.calls import CallForm
from ownlm.tokenization.chat import ChatTemplate

COMPLETION_TOKENS = 16
"""Of a completion that does not say how many, as OpenAI has it."""
SEEDS = 2**63


def chat_plan(served: Served, body: ChatBody, options: ServeConfig) -> Plan:
    """The texts for a conversation."""
    tools = [tool.model_dump(exclude_none=True) for tool in offered(body)]
    prompt = conversation_ids(
        served, [message.plain() for message in body.messages], tools, thinking_of(body)
    )
    asked = body.max_completion_tokens
    wanted = body.max_tokens if asked is None else asked
    param = "max_tokens" if asked is None else "max_completion_tokens"
    logprobs = (body.top_logprobs or 0) if body.logprobs else None
    if body.top_logprobs and not body.logprobs:
        raise bad("top_logprobs: needs logprobs", "top_logprobs")
    if wanted == 0:
        raise bad(f"{param}: expected 1 or more, found 0", param)
    request = Request(
        prompt=tuple(prompt),
        sampling=sampling_of(served, body),
        max_tokens=room(served, len(prompt), wanted, param),
        stop=body.stops,
        ends=frozenset(served.lm.turn_ids),
        min_tokens=body.min_tokens or 0,
        ignore_end=bool(body.ignore_eos),
        logprobs=logprobs,
        constraint=chat_constraint(served, body, options),
    )
    return Plan(served, several(request, body.n or 1), len(prompt))


def offered(body: ChatBody) -> Sequence[Any]:
    """The tools that the model is told of."""
    if body.tool_choice not in (None, "auto", "none") and not body.tools:
        raise bad("tool_choice: needs tools", "tool_choice")
    return [] if body.tool_choice == "none" else body.tools or []


def called(body: ChatBody) -> Sequence[Any]:
    """The functions among which a call is forced; none where it is not."""
    functions = [tool.function for tool in offered(body)]
    if isinstance(body.tool_choice, NamedTool):
        name = body.tool_choice.function.name
        functions = [function for function in functions if function.name == name]
        if not functions:
            raise bad(f"tool_choice: there is no tool {name!r}", "tool_choice")
        return functions
    return functions if body.tool_choice == "required" else []


def chat_constraint(served: Served, body: ChatBody, options: ServeConfig) -> Constraint | None:
    """What the answer must look like."""
    limit, form = options.max_schema_bytes, body.response_format
    if body.structured_outputs is not None:
        return of_structured(body.structured_outputs, limit)
    if forced := called(body):
        return of_tools(forced, limit, call_form(served))
    if form is None or form.type == "text":
        return None
    param = "response_format.json_schema"
    if form.type == "json_object":
        found = any_object()
        schema: dict[str, Any] = {"type": "object"}
    else:
        found = of_named(form.json_schema, limit, param)
        assert form.json_schema is not None and form.json_schema.schema_ is not None
        schema = form.json_schema.schema_
    free = [tool.function for tool in offered(body)]
    return of_tools(free, limit, call_form(served), schema) if free else found


def call_form(served: Served) -> CallForm | None:
    """How the model writes a call, where its template tells."""
    chat = served.lm.tokenizer.chat
    return None if chat is None else chat.call_form


def conversation_ids(
    served: Served,
    messages: Sequence[dict[str, Any]],
    tools: Sequence[dict[str, Any]] = (),
    thinking: bool | None = None,
) -> list[int]:
    """What the model reads of a conversation; 400 for what its template does not take."""
    chat = served.lm.tokenizer.chat
    if chat is None:
        message = "has no chat template: use /v1/completions, or finetune it with the task chat"
        raise bad(f"the model {served.name!r} {message}", "model")
    size = sum(len(str(message.get("content", ""))) for message in messages)
    check_length(served, size, "messages")
    try:
        return template(chat, thinking).prompt(messages, tools)
    except OwnlmError as error:
        raise of_error(error, "messages") from None


@functools.lru_cache(maxsize=8)
def template(chat: ChatTemplate, thinking: bool | None) -> ChatTemplate:
    """The model's template, told whether to think."""
    return chat if thinking is None else chat.with_variables(enable_thinking=thinking)


def thinking_of(body: Any) -> bool | None:
    """Whether the model is to think, where the client says."""
    values = body.chat_template_kwargs
    return None if values is None else values.enable_thinking


def completion_plan(served: Served, body: CompletionBody, options: ServeConfig) -> Plan:
    """The texts behind prompts: `best_of` for each, of which `n` will be given."""
    copies = max(body.n or 1, body.best_of or 1)
    check_completion(body)
    prompts = [text_ids(served, one) for one in body.prompts]
    given = body.structured_outputs
    constraint = None if given is None else of_structured(given, options.max_schema_bytes)
    requests: list[Request] = []
    for ids in prompts:
        requests += several(completion(served, body, ids, constraint), copies)
    return Plan(served, requests, sum(map(len, prompts)))


def completion(
    served: Served, body: CompletionBody, ids: Sequence[int], constraint: Constraint | None
) -> Request:
    """One text. With `echo` an end is a token like others: whoever reads probabilities needs it."""
    ranked = (body.best_of or 1) > (body.n or 1)
    scored = body.logprobs if body.logprobs is not None else (0 if ranked else None)
    made = request_ids(served, ids)
    wanted = COMPLETION_TOKENS if body.max_tokens is None else body.max_tokens
    return Request(
        **made,
        sampling=sampling_of(served, body),
        max_tokens=room(served, len(made["prompt"]), wanted, "max_tokens"),
        stop=body.stops,
        ends=frozenset(served.lm.stop_ids),
        min_tokens=body.min_tokens or 0,
        ignore_end=bool(body.ignore_eos) or bool(body.echo and body.logprobs is not None),
        logprobs=scored,
        prompt_logprobs=body.logprobs if body.echo else None,
        constraint=constraint,
    )


def check_completion(body: CompletionBody) -> None:
    """400 for combinations that mean nothing."""
    n, best = body.n or 1, body.best_of
    if best is not None and best < n:
        raise bad(f"best_of: expected n = {n} or more, found {best}", "best_of")
    if best is not None and best > n and body.stream:
        raise bad("best_of: a stream cannot wait for the best", "best_of")
    if body.suffix:
        raise bad("suffix: this server fills no gaps", "suffix", "unsupported_parameter")
    if body.max_tokens == 0 and not body.echo:
        raise bad("max_tokens: 0 needs echo", "max_tokens")


def text_ids(served: Served, prompt: str | Sequence[int]) -> list[int]:
    """The ids of a prompt."""
    if not isinstance(prompt, str):
        highest = max(prompt)
        if highest >= served.vocab:
            raise bad(f"prompt: id {highest}, the model has 0 to {served.vocab - 1}", "prompt")
        return [*prompt]
    check_length(served, len(prompt), "prompt")
    try:
        if not isinstance(served.lm.model, EncoderDecoder):
            return served.lm.prompt_ids(prompt)
        frame = served.lm.frame
        return [int(id) for id in frame.source(served.lm.tokenizer.encode(prompt))]
    except OwnlmError as error:
        raise of_error(error, "prompt") from None


def request_ids(served: Served, ids: Sequence[int]) -> dict[str, Any]:
    """What is read, of a decoder or of an encoder-decoder."""
    if not isinstance(served.lm.model, EncoderDecoder):
        return {"prompt": tuple(ids)}
    if len(ids) > served.context:
        raise too_long(served, len(ids))
    return {"prompt": tuple(served.lm.frame.opening), "source": tuple(ids)}


def sampling_of(served: Served, body: Sampled) -> SamplingConfig:
    """How tokens are drawn; a seed is drawn where none is given."""
    given = {
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "top_p": max(body.top_p, 1e-9) if body.top_p is not None else None,
        "top_k": max(body.top_k, 0) if body.top_k is not None else None,
        "min_p": body.min_p,
        "repetition_penalty": body.repetition_penalty,
        "presence_penalty": body.presence_penalty,
        "frequency_penalty": body.frequency_penalty,
        "seed": secrets.randbelow(SEEDS) if body.seed is None else body.seed % SEEDS,
        "logit_bias": biased(served, body.logit_bias) if body.logit_bias else None,
    }
    return SamplingConfig(**{key: value for key, value in given.items() if value is not None})


def biased(served: Served, bias: dict[str, float]) -> dict[int, float]:
    """logit_bias by ids; 400 for what is no id of the model."""
    found = {}
    for name, value in bias.items():
        if not (name.isascii() and name.isdigit() and len(name) < 10 and int(name) < served.vocab):
            raise bad(
                f"logit_bias: {name[:20]!a} is no token, expected 0 to {served.vocab - 1}",
                "logit_bias",
            )
        found[int(name)] = value
    return found


def several(request: Request, count: int) -> list[Request]:
    """The same prompt with seeds that follow each other."""
    first = request.sampling.seed
    copies = []
    for number in range(count):
        seeded = request.sampling.model_copy(update={"seed": (first + number) % SEEDS})
        copies.append(dataclasses.replace(request, sampling=seeded))
    return copies


def room(served: Served, read: int, wanted: int | None, param: str) -> int:
    """Tokens that may be written behind so many; 400 where there is no room for what is wanted."""
    left = served.context - read
    if left < 0 or (left == 0 and wanted != 0):
        raise too_long(served, read)
    if wanted is None:
        return left
    if wanted > left:
        raise Refusal(
            400,
            f"{param}: the model reads {served.context} tokens, the prompt has {read}: at most "
            f"{left} can follow, not {wanted}",
            param=param,
            code="context_length_exceeded",
        )
    return wanted


def check_length(served: Served, size: int, param: str) -> None:
    """400 for a text that cannot fit, before its tokens are counted."""
    least = size // served.longest_piece
    if least > served.context:
        raise too_long(served, least, param, "at least ")


def too_long(served: Served, count: int, param: str = "prompt", least: str = "") -> Refusal:
    """400 with the numbers."""
    return Refusal(
        400,
        f"the model reads {served.context} tokens at once, the prompt has {least}{count}",
        param=param,
        code="context_length_exceeded",
    )
