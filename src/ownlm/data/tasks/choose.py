"""Which column plays which part: the one asked for, the one known by its name, the only one
whose content fits; and where several do, a refusal that lists them."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any, NoReturn

from ownlm.config import nearest
from ownlm.data.tasks.rows import Row
from ownlm.errors import DataError

_LABEL = 64  # characters of the longest label that is recognised by content
_SAMPLE = 2000  # rows that content is judged by
_SHOWN = 3  # values of a column in a refusal


NONE: Mapping[str, str] = {}


class Columns:
    """The columns of some rows, and `used`: the part each chosen one plays."""

    def __init__(
        self, names: list[str], rows: list[Row], where: str, apart: Mapping[str, str] = NONE
    ) -> None:
        """`apart` are the columns that not all files have, each with a file that has it."""
        self.names, self.where, self.apart = names, where, apart
        self.used: dict[str, str] = {}
        self._sample = rows[:: max(1, len(rows) // _SAMPLE)]
        self._lower = {name.strip().lower(): name for name in reversed(names)}

    def find(self, part: str, asked: str, known: Sequence[str], option: str) -> str:
        """The column asked for, or the only one with a known name; empty when there is none."""
        name = self._asked(asked, option) if asked else self._known(part, known, option)
        if name:
            self.used[part] = name
        return name

    def need(self, part: str, asked: str, known: Sequence[str], option: str) -> str:
        """The same, but DataError when there is none."""
        return self.find(part, asked, known, option) or self.refuse(f"no {part} recognised", option)

    def pair(self, parts: tuple[str, str], known: Sequence[tuple[str, str]]) -> bool:
        """Whether two columns are known to go together; then they are used as `parts`."""
        found = [two for two in known if all(name in self._lower for name in two)]
        if found:
            self.used |= {part: self._lower[name] for part, name in zip(parts, found[0])}
        return bool(found)

    def labelled(self) -> list[str]:
        """Columns of short values of which few are different."""
        found = []
        for name in self.free():
            values = [str(value).strip() for value in self.values(name)]
            kinds = Counter(values)
            short = all(0 < len(value) <= _LABEL for value in kinds)
            if short and 1 < len(kinds) <= max(2, len(values) // 4):
                found.append(name)
        return found

    def texts(self) -> list[str]:
        """Columns of text that is mostly different and not numbers."""
        found = []
        for name in self.free():
            values = self.values(name)
            texts = [value for value in values if isinstance(value, str) and not is_number(value)]
            if len(texts) > len(values) / 2 and len(set(texts)) > len(values) / 3:
                found.append(name)
        return found

    def numbers(self) -> list[str]:
        """Columns of nothing but numbers, other than a count of the rows."""
        found = []
        for name in self.free():
            values = self.values(name)
            if values and all(map(is_number, values)) and not _counts(values):
                found.append(name)
        return found

    def free(self) -> list[str]:
        """Columns that have no part yet, to be judged by their content; DataError where files
        differ in their columns: the right one may be among those that some lack."""
        if self.apart:
            listed = ", ".join(f"{name!r} of {file}" for name, file in [*self.apart.items()][:6])
            raise DataError(
                f"no column is recognised by name that all files have; others lack {listed}",
                where=self.where,
                next_command="choose files with --data.files 'PATTERN', or give the other as "
                "--data.test-path FILE after naming its columns alike",
            )
        return [name for name in self.names if name not in self.used.values()]

    def only(self, part: str, names: Collection[str], option: str) -> str:
        """The one of `names`, now used as `part`; DataError when there are several or none."""
        if len(names) != 1:
            what = "several columns could be" if names else "no column can be recognised as"
            self.refuse(f"{what} the {part}", option, names)
        (name,) = names
        self.used[part] = name
        return name

    def refuse(self, what: str, option: str, names: Collection[str] = ()) -> NoReturn:
        """DataError with the columns there are, some of their values, and the option."""
        listed = "; ".join(
            f"{name!r}: {self._shown(name)}" for name in list(names or self.names)[:6]
        )
        raise DataError(
            f"{what}; there are {listed or 'no columns'}",
            where=self.where,
            next_command=f"{option} NAME (or its number, from 1)",
        )

    def _asked(self, asked: str, option: str) -> str:
        if asked in self.names:
            return asked
        if asked.isdecimal() and 1 <= int(asked) <= len(self.names):
            return self.names[int(asked) - 1]
        guess = nearest(asked, self.names)
        return self.refuse(
            f"no column {asked!r}" + (f", nearest is {guess!r}" if guess else ""), option
        )

    def _known(self, part: str, known: Sequence[str], option: str) -> str:
        found = [self._lower[name] for name in known if name in self._lower]
        found = [name for name in found if name not in self.used.values()]
        if len(found) > 1:
            self.refuse(f"several columns could be the {part}", option, found)
        return found[0] if found else ""

    def values(self, name: str) -> list[Any]:
        """What a sample of the rows holds in a column, where it holds something."""
        return [row.fields[name] for row in self._sample if row.fields.get(name) is not None]

    def _shown(self, name: str) -> str:
        values = dict.fromkeys(str(value)[:24] for value in self.values(name)[:50])
        return ", ".join(map(repr, list(values)[:_SHOWN])) + (
            ", ..." if len(values) > _SHOWN else ""
        )


def is_number(value: Any) -> bool:
    """Whether a cell or value is a number."""
    if isinstance(value, bool):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _counts(values: list[Any]) -> bool:
    """Whether numbers only rise by whole steps: they number the rows."""
    numbers = [float(value) for value in values]
    whole = all(number.is_integer() for number in numbers)
    return whole and all(a < b for a, b in pairwise(numbers))
