"""What one example is: a record a kind of task, each with the place it came from.

`inputs` is what a model gets to see. Records with equal inputs, and those of one `group` (an
article, a document, a conversation), never lie in different splits.
"""

import abc
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Role = Literal["system", "user", "assistant", "tool"]


class Origin(NamedTuple):
    """Where a record stands, for messages and for finding it again."""

    path: str
    place: str = ""  # line, from 1, where the record begins; empty for a whole file

    @property
    def where(self) -> str:
        """path:line, or the path."""
        return f"{self.path}:{self.place}" if self.place else self.path


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(abc.ABC):
    """What all records have."""

    origin: Origin
    group: str = ""  # what may not be torn apart by a split, beside equal inputs

    @property
    @abc.abstractmethod
    def inputs(self) -> str:
        """What a model reads, as one text."""

    @abc.abstractmethod
    def lengths(self) -> dict[str, int]:
        """Lengths by what is measured: characters of a text, words, turns."""

    def counted(self) -> Iterator[str]:
        """What is counted of it: its labels."""
        yield from ()

    def as_dict(self) -> dict[str, Any]:
        """The record for JSON: its fields and where it stands."""
        own = {name: getattr(self, name) for name in type(self).__slots__}
        return own | {"where": self.origin.where}


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled(Record):
    """A text, or a pair of texts, and its label or labels."""

    text: str
    pair: str | None = None
    labels: tuple[str, ...]

    @property
    def inputs(self) -> str:
        """Both texts."""
        return _both(self.text, self.pair)

    def lengths(self) -> dict[str, int]:
        """Characters."""
        return _characters(text=self.text, pair=self.pair)

    def counted(self) -> Iterator[str]:
        """The labels."""
        yield from self.labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored(Record):
    """A text, or a pair of texts, and a number to predict."""

    text: str
    pair: str | None = None
    score: float

    @property
    def inputs(self) -> str:
        """Both texts."""
        return _both(self.text, self.pair)

    def lengths(self) -> dict[str, int]:
        """Characters."""
        return _characters(text=self.text, pair=self.pair)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged(Record):
    """Words and a tag for each; with a predicate, the tags are roles that words play to it."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    predicate: int | None = None  # its place in `words`, from 0

    @property
    def inputs(self) -> str:
        """The words between spaces, alike for all predicates of a sentence."""
        return " ".join(self.words)

    def lengths(self) -> dict[str, int]:
        """Words."""
        return {"words": len(self.words)}

    def counted(self) -> Iterator[str]:
        """Types of the chunks that begin, where tags are B-X and I-X; else all tags but O."""
        for tag in self.tags:
            if tag != "O" and not tag.startswith("I-"):
                yield tag.removeprefix("B-")


class Answer(NamedTuple):
    """A part of the context, as found at `start`, an offset in characters."""

    text: str
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Question(Record):
    """A question and its answers in a context; without answers, it cannot be answered from it."""

    context: str
    question: str
    answers: tuple[Answer, ...]
    id: str = ""

    @property
    def inputs(self) -> str:
        """The context: two questions about one are not independent."""
        return self.context

    def lengths(self) -> dict[str, int]:
        """Characters."""
        answer = self.answers[0].text if self.answers else None
        return _characters(context=self.context, question=self.question, answer=answer)

    def counted(self) -> Iterator[str]:
        """Whether there is an answer."""
        yield "answered" if self.answers else "no answer"

    def as_dict(self) -> dict[str, Any]:
        """The record for JSON."""
        answers = [answer._asdict() for answer in self.answers]
        return Record.as_dict(self) | {"answers": answers}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel(Record):
    """A text and what is to be written for it: its translation, its summary."""

    source: str
    target: str

    @property
    def inputs(self) -> str:
        """The source."""
        return self.source

    def lengths(self) -> dict[str, int]:
        """Characters."""
        return _characters(source=self.source, target=self.target)


class ToolCall(NamedTuple):
    """A call of a tool by the assistant."""

    name: str
    arguments: dict[str, Any]
    id: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The call as in OpenAI's messages, but its arguments as values, not as text."""
        call = {"type": "function", "function": {"name": self.name, "arguments": self.arguments}}
        return ({"id": self.id} if self.id else {}) | call


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""  # of the result of a tool: which call it answers
    name: str = ""  # of the tool

    def as_dict(self) -> dict[str, Any]:
        """The message as in OpenAI's messages: what chat templates take."""
        found: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.tool_calls:
            found["tool_calls"] = [call.as_dict() for call in self.tool_calls]
        named = {"tool_call_id": self.tool_call_id, "name": self.name}
        return found | {key: value for key, value in named.items() if value}


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation(Record):
    """Turns in order, the last one the assistant's, and the tools it may call."""

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] = ()  # as in OpenAI's requests

    @property
    def inputs(self) -> str:
        """All turns but the last answer."""
        return json.dumps([one.as_dict() for one in self.messages[:-1]], ensure_ascii=False)

    def lengths(self) -> dict[str, int]:
        """Turns, and the characters of all of them."""
        return {
            "turns": len(self.messages),
            "characters": sum(len(one.content) for one in self.messages),
        }

    def counted(self) -> Iterator[str]:
        """The roles, and the calls of tools."""
        for message in self.messages:
            yield message.role
            yield from ("tool call" for _ in message.tool_calls)

    def as_dict(self) -> dict[str, Any]:
        """The record for JSON, as in OpenAI's files."""
        messages = {"messages": [one.as_dict() for one in self.messages], "tools": [*self.tools]}
        return messages | {"where": self.origin.where}


def _both(text: str, pair: str | None) -> str:
    return text if pair is None else f"{text}\n{pair}"


def _characters(**texts: str | None) -> dict[str, int]:
    return {name: len(text) for name, text in texts.items() if text is not None}
