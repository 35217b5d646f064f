"""How templates of well-known styles write a call of a tool, found by letting them write one."""

from typing import Any

import pytest

from ownlm.tokenization.calls import CallForm, call_form
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.templates import with_template
from ownlm.tokenization.train import train_tokenizer

from .chat_templates import STYLES, styled

OBJECT = '{"name": "x", "arguments": {}}'
TAGS = {"<tool_call>": 5, "</tool_call>": 6, "<|im_end|>": 7}
TAGGED = CallForm(("<tool_call>\n",), ("\n</tool_call>",), "arguments")

CASES: list[tuple[list[str | int], dict[str, int], CallForm | None]] = [
    ([f"<tool_call>\n{OBJECT}\n</tool_call>", 7], TAGS, TAGGED),
    ([5, f"\n{OBJECT}\n", 6, 7, "\n"], TAGS, CallForm((5, "\n"), ("\n", 6), "arguments")),
    ([f"<think>\n\n</think>\n\n<tool_call>\n{OBJECT}\n</tool_call>", 7], TAGS, TAGGED),
    ([OBJECT.replace("arguments", "parameters"), 7, "\n"], TAGS, CallForm((), (), "parameters")),
    ([f"[TOOL_CALLS] [{OBJECT}]", 7], TAGS, None),
    ([f"<tool_call>{OBJECT}", 7], TAGS, None),
    (['<function=x>{"a": 1}</function>', 7], TAGS, None),
    (["", 7], TAGS, None),
]


@pytest.mark.parametrize(("parts", "special", "wanted"), CASES, ids=lambda one: repr(one)[:30])
def test_forms(parts: Any, special: dict[str, int], wanted: CallForm | None) -> None:
    assert call_form(parts, "x", special) == wanted


def test_our_own_template() -> None:
    tokenizer = with_template(train_tokenizer(["a b"], TokenizerConfig(kind="byte")))
    assert tokenizer.chat is not None
    assert tokenizer.chat.call_form == CallForm(("<tool_call>",), ("</tool_call>",), "arguments")


@pytest.mark.parametrize("name", list(STYLES))
def test_styles(name: str) -> None:
    """Those without tools, and those whose calls are not read, have no form."""
    chat = styled(name).need_chat()
    found = chat.call_form
    wanted = {"qwen": "arguments", "llama3": "parameters"}
    assert (found.arguments if found else None) == wanted.get(name)
