"""Calls of tools in what a model writes, however its text is cut into pieces."""

import json
import random

import pytest

from ownlm.serving.tool_calls import Argued, Called, CallParser, Piece, Said

HERMES = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": "}\\"{"}}\n</tool_call>'
LLAMA = '{"name": "add", "parameters": {"a": [1, {"b": 2}]}}'


def parsed(text: str, sizes: list[int], names: tuple[str, ...] = ("add", "sub")) -> list[Piece]:
    parser, pieces = CallParser(names), []
    while text:
        size = sizes.pop(0) if sizes else len(text)
        pieces += parser.push(text[:size])
        text = text[size:]
    return [*pieces, *parser.end()]


def joined(pieces: list[Piece]) -> tuple[str, list[tuple[str, str]]]:
    said = "".join(piece.text for piece in pieces if isinstance(piece, Said))
    calls: list[tuple[str, str]] = []
    for piece in pieces:
        if isinstance(piece, Called):
            assert piece.call == len(calls)
            calls.append((piece.name, ""))
        elif isinstance(piece, Argued):
            assert piece.call == len(calls) - 1
            calls[-1] = (calls[-1][0], calls[-1][1] + piece.text)
    return said, calls


CASES = [
    ("Hello { there } <tool", "Hello { there } <tool", []),
    (HERMES, "", [("add", {"a": 1, "b": '}"{'})]),
    ("I add.\n" + HERMES, "I add.\n", [("add", {"a": 1, "b": '}"{'})]),
    (HERMES + "\n" + HERMES.replace("add", "sub"), "",
     [("add", {"a": 1, "b": '}"{'}), ("sub", {"a": 1, "b": '}"{'})]),
    (LLAMA, "", [("add", {"a": [1, {"b": 2}]})]),
    ("  \n" + LLAMA + "\n", "", [("add", {"a": [1, {"b": 2}]})]),
    ('{"type": "function", "name": "sub", "parameters": {}}', "", [("sub", {})]),
    ('<tool_call>{"arguments": {"a": 1}, "name": "add"}</tool_call>', "", [("add", {"a": 1})]),
    ('<tool_call>{"name": "add"}</tool_call>', "", [("add", {})]),
    ('<tool_call>{"name": "add", "arguments": {"a": 2}}', "", [("add", {"a": 2})]),
    ('{"name": "add", "arguments": "{\\"a\\": 1}"}', "", [("add", {"a": 1})]),
    ("<tool_call>{nonsense</tool_call> yes", "<tool_call>{nonsense</tool_call> yes", []),
    ('{"name": "other", "arguments": {}}', '{"name": "other", "arguments": {}}', []),
    ('<tool_call>{"name": "rm", "arguments": {}}</tool_call>',
     '<tool_call>{"name": "rm", "arguments": {}}</tool_call>', []),
    ('The call is {"name": "add", "arguments": {}}', 'The call is {"name": "add", "arguments": {}}',
     []),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said", "calls"), CASES)
def test_text_and_calls_whatever_the_pieces(
    text: str, said: str, calls: list[tuple[str, object]]
) -> None:
    cuts = random.Random(0)
    ways = [[], [1] * len(text), *([cuts.randint(1, 9) for _ in text] for _ in range(20))]
    for sizes in ways:
        found, made = joined(parsed(text, list(sizes)))
        assert found == said
        assert [(name, json.loads(arguments)) for name, arguments in made] == calls


def test_a_call_is_told_before_it_is_complete() -> None:
    parser = CallParser(["add"])
    assert [*parser.push('<tool_call>{"name": "add", "argu')] == []
    assert [*parser.push('ments": {"a"')] == [Called(0, "add"), Argued(0, '{"a"')]
    assert [*parser.push(": 1}")] == [Argued(0, ": 1}")]


def test_text_is_not_held_back_without_need() -> None:
    parser = CallParser(["add"])
    assert [*parser.push("Yes")] == [Said("Yes")]
    assert [*parser.push(", of course. <")] == [Said(", of course. ")]
    assert [*parser.push("b>")] == [Said("<b>")]
