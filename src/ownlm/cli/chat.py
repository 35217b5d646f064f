"""`ownlm chat MODEL`: type, and the model answers, or goes on from there.

A model with a chat template is an assistant: it is asked and answers. A pretrained one continues
the text that grows between you and it.
"""

from collections.abc import Callable
from typing import Annotated, NamedTuple

import tyro
from pydantic import Field

from ownlm.cli.generate import show
from ownlm.cli.options import parse
from ownlm.config import nearest
from ownlm.errors import ConfigError, DataError
from ownlm.inference.config import SamplingConfig
from ownlm.tokenization.messages import ASSISTANT, Message

HELP = """/temperature N  /top-k N  /top-p N  /min-p N  /seed N  /max-tokens N   change a setting
/settings  show them      /reset  forget the text so far      /help      /quit"""


class ChatOptions(SamplingConfig):
    """Talk to a model in the terminal."""

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    """Model folder, run folder or GGUF file."""
    system: str = ""
    """What an assistant is told before the conversation."""
    max_tokens: int = Field(default=100, ge=0)
    """Tokens of one reply at most."""
    temperature: float = Field(default=0.8, ge=0.0, le=100.0)
    """0 always takes the likeliest token; 1 samples as the model predicts; more is wilder."""
    stop: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A reply ends before this string; may be given several times."""
    device: str = ""
    """cpu, cuda, mps; empty: the best there is."""
    dtype: str = ""
    """fp32, bf16, fp16; empty: fp32 on a CPU, the stored type elsewhere."""


class State(NamedTuple):
    """What a conversation is: its text, its settings, how many replies were given; and what was
    said by whom, where the model tells them apart."""

    text: str
    options: ChatOptions
    replies: int = 0
    messages: tuple[Message, ...] = ()

    def said(self, role: str, words: str) -> "State":
        """With one more message."""
        return self._replace(messages=(*self.messages, {"role": role, "content": words}))


def run(args: list[str]) -> int:
    """The command; returns the exit code."""
    options = parse(ChatOptions, args, prog="ownlm chat", description=__doc__)
    from ownlm.inference.language_model import load

    lm = load(options.model, options.device or None, options.dtype or None)
    assistant = lm.tokenizer.chat is not None
    if options.system and not assistant:
        lm.tokenizer.need_chat()
    does = "answers" if assistant else "continues what you type"
    print(f"{lm.folder}: the model {does}. /help lists commands, /quit ends.")

    def reply(state: State) -> str:
        names = SamplingConfig.model_fields
        sampling = SamplingConfig(**{name: getattr(state.options, name) for name in names})
        sampling = sampling.with_values({"seed": sampling.seed + state.replies})
        prompt = state.messages if assistant else state.text
        pieces = lm.stream(prompt, state.options.max_tokens, sampling, state.options.stop)
        return show([], pieces)

    converse(begun(options), reply)
    return 0


def begun(options: ChatOptions) -> State:
    """A conversation in which nothing was said but the system's message."""
    state = State("", options)
    return state.said("system", options.system) if options.system else state


def converse(state: State, reply: Callable[[State], str]) -> State:
    """Read lines until /quit or the end of input; returns the last state."""
    while (line := _read()) is not None:
        if line.startswith("/"):
            after = command(line, state)
            if after is None:
                break
            state = after
            continue
        text = f"{state.text}\n{line}" if state.text else line
        asked = state._replace(text=text).said("user", line)
        try:
            answer = reply(asked)
        except DataError as error:  # what the chat template refuses: not said, then
            print(error)
            continue
        after = asked.said(ASSISTANT, answer)
        state = after._replace(text=text + answer, replies=state.replies + 1)
    return state


def command(line: str, state: State) -> State | None:
    """Carry out one /command; None means the end."""
    name, _, value = line[1:].strip().partition(" ")
    if name in ("quit", "exit", "q"):
        return None
    if name == "reset":
        return begun(state.options)._replace(replies=state.replies)
    if name == "settings":
        kept = state.options.model_dump(include={*SamplingConfig.model_fields, "max_tokens"})
        print("  ".join(f"{key.replace('_', '-')} {value}" for key, value in kept.items()))
    elif name == "help":
        print(HELP)
    else:
        return _set(name, value, state)
    return state


def _set(name: str, value: str, state: State) -> State:
    settings = [*(key.replace("_", "-") for key in SamplingConfig.model_fields), "max-tokens"]
    if name not in settings:
        guess = nearest(name, [*settings, "help", "reset", "settings", "quit"])
        print(f"unknown command /{name}" + (f", nearest is /{guess}" if guess else ""))
        return state
    if not value.strip():
        print(f"{name} {getattr(state.options, name.replace('-', '_'))}")
        return state
    try:
        options = state.options.with_values({name.replace("-", "_"): value.strip()}, f"/{name}")
    except ConfigError as error:
        print(error)
        return state
    return state._replace(options=options)


def _read() -> str | None:
    try:
        typed = input("> ").encode("utf-8", "surrogateescape")
        return typed.decode("utf-8", "replace")  # a byte that is no UTF-8 ends no conversation
    except EOFError:
        print()
        return None
