"""Which fields of a row are read: its text, or both sides of a pair, and its control code."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from ownlm.data.config import DataConfig
from ownlm.data.document import PIECE, SIDES
from ownlm.data.faults import Bad

TEXTS = ("text", "content", "document", "body", "article", "story", "sentence", "raw_content")
SOURCES, TARGETS = ("source", "src", "input"), ("target", "tgt", "output")
PLACES = ("", "auto", "folder", "file")
"""Values of data.codes that do not name a field."""
_LONGEST_CODE = 64


class Row(NamedTuple):
    """The text of one row and its line, both as found; of a pair, source and target in one."""

    line: int
    text: str
    code: str = ""


class Column:
    """Which field holds something: the one asked for, or the first known name met, then kept."""

    def __init__(self, asked: str, known: Sequence[str], what: str, option: str) -> None:
        self.name, self._known, self._what, self._option = asked, known, what, option

    def choose(self, names: Collection[str]) -> str:
        """The field to read from a row that has `names`; Bad lists them when there is none."""
        self.name = self.name or next((name for name in self._known if name in names), "")
        if self.name in names:
            return self.name
        wanted = repr(self.name) if self.name else self._what
        listed = ", ".join(map(repr, list(names)[:8])) or "nothing"
        raise Bad("missing-field", f"no field {wanted} among {listed}; see {self._option}")


class Fields:
    """All that is read of a row, in order: text or source and target, then the code."""

    def __init__(self, config: DataConfig) -> None:
        self.pairs, self.coded = config.pairs, config.codes not in PLACES
        if config.pairs:
            self._columns = [
                Column(config.source_field, SOURCES, "of a source", "--data.source-field"),
                Column(config.target_field, TARGETS, "of a target", "--data.target-field"),
            ]
        else:
            self._columns = [Column(config.text_field, TEXTS, "of text", "--data.text-field")]
        if self.coded:
            self._columns.append(Column(config.codes, (), "", "--data.codes"))

    def choose(self, names: Collection[str]) -> list[str]:
        """The fields to read from rows that have `names`, in order; Bad when one is missing."""
        return [column.choose(names) for column in self._columns]

    def row(self, line: int, values: Sequence[Any]) -> Row:
        """The row whose fields have `values`, in that order; Bad says what cannot be used."""
        names = [column.name for column in self._columns]
        code = sound_code(values[-1], names[-1]) if self.coded else ""
        texts = [sound(*pair) for pair in list(zip(values, names))[: 1 + self.pairs]]
        return Row(line, paired(*texts) if self.pairs else texts[0], code)


def paired(source: str, target: str) -> str:
    """Both sides as one text, "" when both are blank; Bad where only one is, or for a giant."""
    for name, side in (("source", source), ("target", target)):
        if SIDES in side:
            raise Bad("separator", f"the {name} holds U+001E, which separates source and target")
    if not source.strip() and not target.strip():
        return ""
    for name, side in (("source", source), ("target", target)):
        if not side.strip():
            raise Bad("empty-side", f"the {name} is empty")
    text = source + SIDES + target
    if len(text) > PIECE:
        raise Bad("long-pair", f"a pair of {len(text):,} characters, at most {PIECE:,} are read")
    return text


def sound(value: Any, name: str) -> str:
    """`value` when it is text that UTF-8 can hold."""
    if value is None:
        raise Bad("null-text", f"field {name!r} is null")
    if not isinstance(value, str):
        raise Bad("not-a-string", f"field {name!r} is of type {type(value).__name__}, not text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        lone = f"\\u{ord(value[error.start]):04x}"
        raise Bad("lone-surrogate", f"{lone} without its other half in field {name!r}") from None
    return value


def sound_code(value: Any, name: str) -> str:
    """`value` when it can name a control code: a short line of text, or a whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    code = sound(value, name).strip()
    if not code or not code.isprintable() or len(code) > _LONGEST_CODE:
        shown = f"{code[:_LONGEST_CODE]!r} in {name!r}" if code else f"nothing in {name!r}"
        raise Bad("bad-code", f"{shown} is no control code: expected 1 to 64 printable characters")
    return code
