"""Conversations as ids, by a model's own chat template: what is read, and what is learned.

    <|im_start|>user\n Hi <|im_end|>\n <|im_start|>assistant\n Hello! <|im_end|>\n
    read ................................................... learned ........ read

Learned is what the model will have to write: of each turn of the assistant all that follows the
ids that generation begins from, up to the token that ends it. Both come from rendering
the conversation up to there, and ids are compared, so any template will do; a turn whose ids in
the conversation are not those of generation is never marked. Nothing depends on which ids pad
or end a text.
"""

import datetime
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ownlm.errors import DataError
from ownlm.tokenization.calls import CallForm, call_form
from ownlm.tokenization.messages import ASSISTANT, Messages, Tools, checked, checked_tools
from ownlm.tokenization.render import Limits
from ownlm.tokenization.writer import Encoder, Job, Plain, Writer, Written

KEY = "chat_template"
"""Of tokenizer_config.json."""
_SAID = "qzanswer"
_ASK = {"role": "user", "content": "qzuestion"}
_ANSWER = {"role": ASSISTANT, "content": _SAID}
_CALL = {"type": "function", "id": "q00000001", "function": {"name": _SAID, "arguments": {}}}
_CALLS = {"role": ASSISTANT, "content": "", "tool_calls": [_CALL]}
_NOTHING = {"type": "object", "properties": {}}
_TOOL = {
    "type": "function",
    "function": {"name": _SAID, "description": _SAID, "parameters": _NOTHING},
}
_SYSTEMS: tuple[Plain, ...] = ([], [{"role": "system", "content": "qzystem"}])
"""Conversations that tell how turns end and tools are called."""


class Sources(NamedTuple):
    """The text of a template, and of another one for conversations with tools."""

    plain: str
    tools: str


class Applied(NamedTuple):
    """A conversation as a model reads it."""

    ids: list[int]
    learned: list[bool]
    """Of each id, whether the model is to say it."""


class _Turn(NamedTuple):
    """A turn of the assistant: what it answers, and the conversation with it at the end."""

    number: int
    prompt: Written
    written: Written
    end: int
    """Place in `written.ids` of the token that ends the turn."""

    @property
    def begin(self) -> int:
        """Place of the first id that is learned."""
        return len(self.prompt.ids)

    def is_in(self, ids: list[int]) -> bool:
        """Whether a conversation holds the turn as generation would have written it."""
        here = ids[: self.end + 1] == self.written.ids[: self.end + 1]
        return here and ids[: self.begin] == self.prompt.ids


class ChatTemplate:
    """A chat template and the tokenizer that it writes for."""

    def __init__(
        self,
        sources: Sources | tuple[str, str],
        tokenizer: Encoder,
        *,
        variables: Mapping[str, Any] | None = None,
        now: datetime.datetime | None = None,
        limits: Limits | None = None,
    ) -> None:
        """`sources` are the text for conversations, and for those with tools; `variables` are
        given to it as they are (enable_thinking), `now` is what a template that writes the date
        is told (else the time of the call)."""
        self.sources, self._tokenizer = sources, tokenizer
        self._kept: dict[str, Any] = {"now": now, "limits": limits}
        self._given = dict(variables or {})
        self._writer = Writer(sources, tokenizer, self._given, now, limits)

    def with_variables(self, **variables: Any) -> "ChatTemplate":
        """The same template with further values given to it, such as enable_thinking=False."""
        given = self._given | variables
        return ChatTemplate(self.sources, self._tokenizer, variables=given, **self._kept)

    def render(self, messages: Messages, tools: Tools = (), *, generate: bool = False) -> str:
        """The text of a conversation; to `generate`, with the beginning of the next answer."""
        names = {id: name for name, id in self._tokenizer.special.items()}
        parts = self._written(messages, tools, generate).parts
        return "".join([part if isinstance(part, str) else names[part] for part in parts])

    def prompt(self, messages: Messages, tools: Tools = ()) -> list[int]:
        """The ids from which the model writes the next answer."""
        return self._written(messages, tools, True).ids

    def apply(self, messages: Messages, tools: Tools = ()) -> Applied:
        """A whole conversation with every turn of the assistant marked.

        DataError where the template writes a turn otherwise once the conversation goes on (it
        drops the reasoning of earlier turns, say): `examples` takes these apart.
        """
        ids = self._written(messages, tools, False).ids
        turns = self._turns(messages, tools)
        for turn in turns:
            if not turn.is_in(ids):
                raise DataError(
                    "the template writes this turn otherwise once the conversation goes on",
                    where=f"message {turn.number + 1}",
                    next_command="learn it turn by turn: ChatTemplate.examples",
                )
        return _marked(ids, turns)

    def examples(self, messages: Messages, tools: Tools = ()) -> list[Applied]:
        """What is learned of a conversation: in as few sequences as hold every turn of the
        assistant once, each exactly as generation would have met it. Mostly that is one."""
        left, found = self._turns(messages, tools), []
        while left:
            last = left[-1]
            here = [turn for turn in left if turn.is_in(last.written.ids)]
            if last not in here:
                here, last = [last], self._joined(last)
                found.append(_marked(last.written.ids, [last]))
            else:
                found.append(_marked(last.written.ids, here))
            left = [turn for turn in left if turn not in here]
        return found[::-1]

    @functools.cached_property
    def stop_ids(self) -> frozenset[int]:
        """The tokens that end an answer, or a call of tools; none where the template has none.

        Found by what follows the assistant's words in conversations of two turns.
        """
        ends = self._ends_of(_ANSWER, None)[:1]
        called = self._ends_of(_CALLS, [_TOOL])
        if not {*ends} & {*called}:
            ends += called[-1:]
        return frozenset(ends)

    @functools.cached_property
    def call_form(self) -> CallForm | None:
        """How an answer calls a tool; None where the template writes none, or in a form that is
        not known here."""
        for system in _SYSTEMS:
            asked = [*system, _ASK]
            try:
                prompt, whole = self._writer.write(
                    [Job(asked, True), Job([*asked, _CALLS], False)], [_TOOL]
                )
            except DataError:
                continue
            rest = whole.after(prompt)
            return None if rest is None else call_form(rest, _SAID, self._tokenizer.special)
        return None

    def _ends_of(self, answer: dict[str, Any], tools: Plain | None) -> list[int]:
        """The control tokens behind an answer: proper ones, else markers."""
        for system in _SYSTEMS:
            try:
                job = Job([*system, _ASK, answer], False)
                parts = self._writer.write([job], tools)[0].parts
            except DataError:
                continue  # a template that knows no tools, or asks for a system's message
            said = [n for n, part in enumerate(parts) if isinstance(part, str) and _SAID in part]
            if not said:
                continue  # it leaves out what was said: of such an answer nothing ends
            controls = [part for part in parts[said[-1] :] if isinstance(part, int)]
            return [id for id in controls if id not in self._writer.markers] or controls
        return []

    def _written(self, messages: Messages, tools: Tools, generate: bool) -> Written:
        job = Job(checked(messages), generate)
        return self._writer.write([job], checked_tools(tools))[0]

    def _turns(self, messages: Messages, tools: Tools) -> list[_Turn]:
        """The turns that are learned; DataError for one that cannot be."""
        plain, made = checked(messages), checked_tools(tools)
        numbers = [*_answers(plain)]
        prompts = self._writer.write([Job(plain[:number], True) for number in numbers], made)
        whole = self._writer.write([Job(plain[: number + 1], False) for number in numbers], made)
        return [self._turn(*turn) for turn in zip(numbers, prompts, whole)]

    def _turn(self, number: int, prompt: Written, written: Written) -> _Turn:
        where = f"message {number + 1}"
        rest = written.after(prompt)
        if rest is None:
            raise DataError(
                "the template writes an answer otherwise than generation begins one, which is "
                f"with {_end_of(prompt)!r}",
                where=where,
                next_command="give the template a variable with which both agree, or use another",
            )
        controls = [part for part in rest if isinstance(part, int)]
        ends = [n for n, id in enumerate(controls) if id in self.stop_ids]
        if not ends:
            raise DataError(
                "the template ends this answer with no control token, so a model would not learn "
                "to stop",
                where=where,
                next_command="use a template with an end of turn, such as our own: "
                "ownlm.tokenization.templates.with_template(tokenizer)",
            )
        return _Turn(number, prompt, written, written.place(prompt.controls + ends[0]))

    def _joined(self, turn: _Turn) -> _Turn:
        """A turn whose first characters the tokenizer joins with the last of the prompt ("\\n" and
        "\\n"), with the prompt's ids as generation has them, and behind them the rest."""
        rest = turn.written.after(turn.prompt)
        assert rest is not None, "refused before"
        anchor = next(iter(self._tokenizer.special.values()))
        ids = turn.prompt.ids + self._tokenizer.encode_parts([[anchor, *rest]])[0][1:]
        texts = {self._tokenizer.decode(one, skip_special=False) for one in (ids, turn.written.ids)}
        if len(texts) > 1:
            raise DataError(
                "the tokenizer joins the beginning of this answer with what stands before it",
                where=f"message {turn.number + 1}",
            )
        written = Written(turn.written.parts, ids)
        end = turn.end + len(ids) - len(turn.written.ids)
        return _Turn(turn.number, turn.prompt, written, end)


def _answers(plain: Plain) -> Iterator[int]:
    """Which messages are learned. A greeting before any question answers nothing."""
    asked = False
    for number, message in enumerate(plain):
        if asked and message["role"] == ASSISTANT and message.get("weight", 1):
            yield number
        asked = asked or message["role"] not in (ASSISTANT, "system", "developer")


def _marked(ids: list[int], turns: Sequence[_Turn]) -> Applied:
    learned = [False] * len(ids)
    for turn in turns:
        learned[turn.begin : turn.end + 1] = [True] * (turn.end + 1 - turn.begin)
    return Applied(ids, learned)


def _end_of(prompt: Written) -> str:
    last = next((part for part in reversed(prompt.parts) if isinstance(part, str)), "")
    return last[-40:]


def chosen(settings: Mapping[str, Any]) -> Sources | None:
    """The templates that tokenizer_config.json names, or None; DataError for what is none.

    One text, or several by name as {"default": "...", "tool_use": "..."} or as a list of
    {"name", "template"}.
    """
    given = settings.get(KEY)
    if given is None or given == "":
        return None
    if isinstance(given, str):
        return Sources(given, given)
    try:
        named = {e["name"]: e["template"] for e in given} if isinstance(given, list) else given
        plain = named["default"]
        found = Sources(plain, named.get("tool_use", plain))
        if all(isinstance(source, str) for source in found):
            return found
    except (TypeError, KeyError, AttributeError):
        pass
    raise DataError("expected a text, or texts by name with one named default", where=KEY)
