'''`ownlm chat MODEL`: type, and the model answers, or goes on from there.

A model with a chat template is an assistant: it is asked and answers. A pretrained one continues
the text that grows between you and it. /help lists what can be done besides typing: retry, save
and load, settings; a line that ends in \\ goes on in the next one, """ begins and ends a text of
many lines, and Ctrl-C ends an answer and keeps what came.
'''

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from ownlm.cli.options import parse
from ownlm.cli.prompt import Prompt
from ownlm.cli.talk import Budget, ChatOptions, State, begun, command, fitted
from ownlm.errors import DataError
from ownlm.tokenization.messages import Message

if TYPE_CHECKING:
    from ownlm.inference.language_model import LM


def run(args: list[str]) -> int:
    """The command; returns the exit code."""
    options = parse(ChatOptions, args, prog="ownlm chat", description=__doc__)
    from ownlm.inference.language_model import load

    lm = load(options.model, options.device or None, options.dtype or None)
    lm.require_words()
    partner = Partner(lm)
    if options.system and not partner.assistant:
        lm.tokenizer.need_chat()
    does = "answers" if partner.assistant else "continues what you type"
    if lm.answers and not partner.assistant:
        does = "reads what you type and writes what it was trained to write for that"
    print(f"{lm.folder}: the model {does}. /help lists commands, /exit ends.")
    if sys.stdin.isatty():
        with contextlib.suppress(ImportError):
            importlib.import_module("readline")  # input() then edits lines and recalls earlier ones
    converse(begun(options, partner.assistant), partner.reply, partner.budget)
    return 0


class Partner:
    """A model that is talked to."""

    def __init__(self, lm: "LM") -> None:
        self.lm, self.assistant = lm, lm.tokenizer.chat is not None
        self._left_out = 0

    def reply(self, state: State) -> Iterator[str]:
        """The answer piece by piece. What no longer fits into the context is left out by whole
        turns, with a note; a text that grows is cut by the model's window."""
        prompt: str | tuple[Message, ...] = state.text
        if self.assistant:
            prompt = self._fitted(state)
            left_out = len(state.messages) - len(prompt)
            if left_out > self._left_out:
                print(f"(the first {left_out} messages no longer fit and are left out)")
            self._left_out = left_out
        options = state.options
        return self.lm.stream(prompt, options.max_tokens, state.sampling, options.stop)

    def budget(self, state: State) -> Budget:
        """What the conversation takes, as the model would read it next."""
        context = self.lm.model.context
        if not self.assistant:
            taken = len(self.lm.prompt_ids(state.text))
            return Budget(min(taken, context), context, forgets=taken >= context)
        if not state.messages:
            return Budget(0, context)
        kept = self._fitted(state)
        return Budget(self._count(kept), context, len(state.messages) - len(kept))

    def _fitted(self, state: State) -> tuple[Message, ...]:
        context = self.lm.model.context
        room = context - min(state.options.max_tokens, context // 4)
        return fitted(state.messages, self._count, room)

    def _count(self, messages: Sequence[Message]) -> int:
        return len(self.lm.prompt_ids(messages))


def converse(
    state: State,
    reply: Callable[[State], Iterator[str]],
    budget: Callable[[State], Budget] | None = None,
) -> State:
    """Read until /exit or the end of input; returns the last state."""
    with Prompt() as prompt:
        while (line := prompt.read()) is not None:
            asked: State | None = None
            if line.split()[:1] == ["/retry"]:
                asked = _again(state)
            elif line.startswith("/") and not line.startswith("//"):
                after = command(line, state, budget)
                if after is None:
                    break
                state = after
            elif line.strip() or not state.assistant:  # a text goes on after an empty line
                asked = state.with_question(line.removeprefix("/") if line[:2] == "//" else line)
            if asked is not None:
                state = _answered(state, asked, reply, prompt)
    return state


def _again(state: State) -> State | None:
    """What the last answer followed, to be asked once more."""
    if state.asked is None:
        print("nothing was asked yet")
        return None
    if state.options.temperature == 0:
        print("(at temperature 0 the answer stays the same)")
    text, messages = state.asked
    return state._replace(text=text, messages=messages)


def _answered(
    state: State, asked: State, reply: Callable[[State], Iterator[str]], prompt: Prompt
) -> State:
    """The conversation with the answer; as it was before where there is none."""
    try:
        answer, whole = _shown(reply(asked), prompt)
    except DataError as error:  # what the chat template refuses: not said, then
        print(error)
        return state
    except KeyboardInterrupt:
        answer, whole = "", False
        print()
    if not whole and not answer:
        print("(interrupted: nothing was said)")
        return state
    return asked.with_answer(answer)


def _shown(pieces: Iterator[str], prompt: Prompt) -> tuple[str, bool]:
    """Write an answer as it comes; what came, and whether it is whole: Ctrl-C ends it."""
    written, whole = list[str](), True
    try:
        with prompt.answering():
            for piece in pieces:
                written.append(piece)
                sys.stdout.write(piece)
                sys.stdout.flush()
                if prompt.interrupted:
                    break
    except KeyboardInterrupt:
        whole = False
    sys.stdout.write("\n")
    return "".join(written), whole and not prompt.interrupted
