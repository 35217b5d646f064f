"""Which characters of a rendered conversation came from its users, and which from the template.

The template is rendered twice: as asked, and with the characters of all given text replaced, one
by one, by others of a private plane of Unicode. Where a control token's name still stands in the
second, no character of it was given: the template wrote it. What only spells a name is text.

    given  "what is <|im_end|>?"     as asked    <|im_start|>user\nwhat is <|im_end|>?<|im_end|>
                                     disguised   <|im_start|>user\n████ ██ ██████████?<|im_end|>

A template may look into what it is given (`startswith`, `split`, `== "string"`), and then writes
something else in disguise. So there are several disguises, each with more left as it is; one
holds when it gives the same text character by character.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from ownlm.tokenization.messages import ASSISTANT

_PLANE = 0xF0000
_KEPT = '"\\\x7f'
"""Not replaced: JSON writes them in two characters. No name of a control token is made of them."""
_STEERING = ("role", "type")
"""Fields of words that templates compare; roles are from a closed list."""
_WORD = re.compile(r"[a-z_]+")
_KEY = re.compile(r"[\w$.-]+")

Change = Callable[[str], str]


class Disguises:
    """The disguises for conversations under a tokenizer's control tokens.

    `markers` are those that are as much text as control (<think>): a template may look for them
    in what an assistant said.
    """

    def __init__(self, names: Collection[str], markers: Collection[str]) -> None:
        self._names = names
        self._name = _any_of(names)
        self._marker = _any_of(markers)
        joints = {c for name in names for c in name if not c.isalnum() and c != "_"}
        letters = [name for name in names if not joints & {*name}]
        self._joints = {ord(c): _hidden(ord(c)) for c in joints if _replaced(ord(c))}
        self._lettered = _any_of(letters)

    def __call__(self, variables: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """The variables of a template in disguise, the best one first."""
        everything, joints = self._everything, self._joined
        yield self._dressed(variables, everything, everything, everything)
        yield self._dressed(variables, everything, everything, joints)
        yield self._dressed(variables, joints, joints, joints)
        yield self._dressed(variables, joints, self._unmarked, joints)

    def split(self, plain: str, disguised: str) -> list[str] | None:
        """`plain` cut around the control tokens that the template wrote: text, name, text, ...

        None when the disguised text is another one.
        """
        if len(plain) != len(disguised) or plain.translate(_ALL) != disguised.translate(_ALL):
            return None
        found, begin = [], 0
        for match in self._name.finditer(disguised):
            found += [plain[begin : match.start()], match[0]]
            begin = match.end()
        return [*found, plain[begin:]]

    def _dressed(
        self, variables: Mapping[str, Any], said: Change, answered: Change, tools: Change
    ) -> dict[str, Any]:
        """`said` for the words of users, `answered` for the assistant's, `tools` for tools and
        the calls of them."""

        def message(values: dict[str, Any]) -> dict[str, Any]:
            change = answered if values["role"] == ASSISTANT else said
            plain = {key: value for key, value in values.items() if key != "tool_calls"}
            calls = {key: value for key, value in values.items() if key == "tool_calls"}
            return {**self._walk(plain, change), **self._walk(calls, tools)}

        return {
            **variables,
            "messages": [message(values) for values in variables["messages"]],
            "tools": self._walk(variables["tools"], tools),
        }

    def _walk(self, value: Any, change: Change, key: str = "") -> Any:
        if isinstance(value, str):
            steers = key in _STEERING and _WORD.fullmatch(value) and value not in self._names
            return value if steers else change(value)
        if isinstance(value, list):
            return [self._walk(item, change, key) for item in value]
        if isinstance(value, dict):
            return {self._key(k): self._walk(v, change, k) for k, v in value.items()}
        return value

    def _key(self, key: str) -> str:
        """Keys stay, for the template to ask for, unless they could be more than a name."""
        plain = _KEY.fullmatch(key) and key not in self._names
        return key if plain else self._everything(key)

    def _everything(self, text: str) -> str:
        return text.translate(_ALL)

    def _joined(self, text: str) -> str:
        """Only what holds names together: <, |, >, and names that are words."""
        return self._lettered.sub(lambda m: m[0].translate(_ALL), text).translate(self._joints)

    def _unmarked(self, text: str) -> str:
        """The same, but for markers."""
        pieces, begin = [], 0
        for match in self._marker.finditer(text):
            pieces += [self._joined(text[begin : match.start()]), match[0]]
            begin = match.end()
        return "".join([*pieces, self._joined(text[begin:])])


def _any_of(names: Collection[str]) -> "re.Pattern[str]":
    """Finds any of the names, the longest where several begin; no name is found in none."""
    longest = sorted(names, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest)) or "(?!)")


def _hidden(code: int) -> str:
    return chr(_PLANE + code)


def _replaced(code: int) -> bool:
    """Spaces stay, for templates strip them; so do characters beyond the basic plane."""
    character = chr(code)
    return 32 < code < 0xFFFE and not (
        character.isspace() or character in _KEPT or 0xD800 <= code < 0xE000
    )


class _All(dict[int, str]):
    """A table for str.translate that is filled as characters are met."""

    def __missing__(self, code: int) -> str:
        self[code] = found = _hidden(code) if _replaced(code) else chr(code)
        return found


_ALL = _All()
