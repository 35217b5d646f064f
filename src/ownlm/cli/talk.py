"""A conversation in the terminal as data: what was said, settings, the / commands that change it.

Nothing here reads or writes words: chat.py does, and hands in what counts tokens.
"""

import bisect
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro
from pydantic import Field

from ownlm.config import nearest
from ownlm.errors import ConfigError, DataError, OwnlmError
from ownlm.files import write_json
from ownlm.inference.config import SamplingConfig
from ownlm.tokenization.messages import ASSISTANT, Message, checked

HELP = '''/system TEXT   what an assistant is told before the conversation; empty: nothing
/retry         the last answer once more, with another seed
/tokens        how much of the context is taken
/save FILE     the conversation as JSON      /load FILE   go on with one
/clear         forget what was said          /help   this      /exit   or Ctrl-D: leave
/temperature N  /top-k N  /top-p N  /min-p N  /seed N  /max-tokens N   settings; /settings lists
A line that ends in \\ goes on in the next one; """ begins and ends a text of many lines;
//text says /text. Ctrl-C ends an answer and keeps what came; pressed
twice it does not wait for the next word.'''
SEEDS = 2**63
_END, _CLEAR = ("quit", "exit", "q"), ("clear", "reset")
_NAMES = ("system", "retry", "tokens", "save", "load", "clear", "settings", "help", "exit")


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

    @property
    def sampling(self) -> SamplingConfig:
        """The part that chooses tokens."""
        return SamplingConfig(**{name: getattr(self, name) for name in SamplingConfig.model_fields})


class Asked(NamedTuple):
    """What the last answer followed, to be asked again."""

    text: str
    messages: tuple[Message, ...]


class State(NamedTuple):
    """What a conversation is: its text, its settings, how many replies were given; and what was
    said by whom, where the model tells them apart."""

    text: str
    options: ChatOptions
    replies: int = 0
    messages: tuple[Message, ...] = ()
    asked: Asked | None = None
    assistant: bool = True
    """Whether the model has a chat template."""

    def said(self, role: str, words: str) -> "State":
        """With one more message."""
        return self._replace(messages=(*self.messages, {"role": role, "content": words}))

    def with_question(self, words: str) -> "State":
        """With what a user typed; in a text that grows it stands on a line of its own."""
        after = f"{self.text}\n{words}" if self.text and words else self.text or words
        asked = self._replace(text=after).said("user", words)
        return asked._replace(asked=Asked(asked.text, asked.messages))

    def with_answer(self, answer: str) -> "State":
        """With what the model said to that."""
        after = self.said(ASSISTANT, answer)
        return after._replace(text=self.text + answer, replies=self.replies + 1)

    @property
    def sampling(self) -> SamplingConfig:
        """The settings, with a seed of its own for each reply."""
        sampling = self.options.sampling
        return sampling.with_values({"seed": (sampling.seed + self.replies) % SEEDS})


class Budget(NamedTuple):
    """What a conversation takes of the context."""

    taken: int
    context: int
    left_out: int = 0
    """Messages at the beginning that no longer fit."""
    forgets: bool = False
    """Whether the beginning of a text that grows is no longer read."""

    def __str__(self) -> str:
        left = f"; the first {self.left_out} messages are left out" if self.left_out else ""
        if self.forgets:
            left = "; of a longer text the beginning is no longer read"
        free = max(0, self.context - self.taken)
        return f"{self.taken:,} of {self.context:,} tokens, {free:,} are free{left}"


def begun(options: ChatOptions, assistant: bool = True) -> State:
    """A conversation in which nothing was said but the system's message."""
    state = State("", options, assistant=assistant)
    return state.said("system", options.system) if options.system else state


def fitted(
    messages: Sequence[Message], count: Callable[[Sequence[Message]], int], room: int
) -> tuple[Message, ...]:
    """The messages without so many of the first turns that the rest takes at most `room` tokens.

    A turn is what a user says and all that follows it; the system's message and the last turn
    always stay.
    """
    first = 1 if messages and messages[0]["role"] == "system" else 0
    turns = [place for place, message in enumerate(messages) if message["role"] == "user"]

    def kept(turn: int) -> tuple[Message, ...]:
        return (*messages[:first], *messages[turn:])

    if not turns or count(messages) <= room:
        return tuple(messages)
    fits = bisect.bisect_left(turns, True, lo=1, key=lambda turn: count(kept(turn)) <= room)
    return kept(turns[min(fits, len(turns) - 1)]) if len(turns) > 1 else tuple(messages)


def command(
    line: str, state: State, budget: Callable[[State], Budget] | None = None
) -> State | None:
    """Carry out one /command that asks for no answer; None means the end."""
    name, _, value = line[1:].strip().partition(" ")
    value = value.strip()
    try:
        if name in _END:
            return None
        if name in _CLEAR:
            return begun(state.options, state.assistant)._replace(replies=state.replies)
        if name == "system":
            return _with_system(state, value)
        if name == "load":
            return _loaded(state, value)
        return _told(name, value, state, budget)
    except OwnlmError as error:
        print(error)
        return state


def _told(name: str, value: str, state: State, budget: Callable[[State], Budget] | None) -> State:
    """Commands that print; any other name is a setting."""
    if name == "settings":
        kept = state.options.model_dump(include={*SamplingConfig.model_fields, "max_tokens"})
        print("  ".join(f"{key.replace('_', '-')} {shown}" for key, shown in kept.items()))
    elif name == "help":
        print(HELP)
    elif name == "tokens" and budget is not None:
        print(budget(state))
    elif name == "save":
        _save(state, value)
    else:
        return _set(name, value, state)
    return state


def _with_system(state: State, words: str) -> State:
    if not state.assistant:
        raise DataError("the model has no chat template: it is told nothing, and continues a text")
    first = state.messages[:1]
    rest = state.messages[1:] if first and first[0]["role"] == "system" else state.messages
    told: tuple[Message, ...] = ({"role": "system", "content": words},) if words else ()
    options = state.options.with_values({"system": words})
    return state._replace(options=options, messages=(*told, *rest), asked=None)


def _save(state: State, name: str) -> None:
    path = _named(name, "save")
    messages = [dict(message) for message in state.messages]
    found = {"model": state.options.model, "messages": messages, "text": state.text}
    try:
        write_json(path, found)
    except (OSError, ValueError) as error:  # a name with a zero byte, half a surrogate pair
        raise DataError(f"cannot be written: {error}", where=str(path)) from None
    print(f"{path}: {len(messages)} messages")


def _loaded(state: State, name: str) -> State:
    path = _named(name, "load")
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        text, messages = found["text"], found["messages"]
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except (ValueError, TypeError, KeyError, RecursionError):
        raise DataError("no conversation that /save wrote", where=str(path)) from None
    said = checked(messages) if messages else []
    if not isinstance(text, str):
        raise DataError("no conversation that /save wrote", where=str(path))
    print(f"{path}: {len(said)} messages")
    return state._replace(text=text, messages=tuple(said), asked=None)


def _named(name: str, verb: str) -> Path:
    if not name:
        raise DataError(f"/{verb} wants the name of a file")
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise DataError("there is no such home folder", where=name) from None


def _set(name: str, value: str, state: State) -> State:
    settings = [*(key.replace("_", "-") for key in SamplingConfig.model_fields), "max-tokens"]
    if name not in settings:
        guess = nearest(name, [*settings, *_NAMES])
        print(f"unknown command /{name}" + (f", nearest is /{guess}" if guess else ""))
        return state
    if not value:
        print(f"{name} {getattr(state.options, name.replace('-', '_'))}")
        return state
    key = name.replace("-", "_")
    try:
        return state._replace(options=state.options.with_values({key: value}))
    except ConfigError as error:
        what = error.what.removeprefix(f"{key}: ")
        raise ConfigError(what, where=f"/{name}", next_command=f"/{name} shows it") from None
