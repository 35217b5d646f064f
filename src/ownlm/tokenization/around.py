"""What tokenizer.json puts around a text: its `post_processor` section, written and read."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ownlm.errors import DataError


def template(single: str, pair: str, names: Mapping[str, str], ids: Mapping[str, int]) -> Any:
    """The section for forms such as "cls A sep", in roles; `A` and `B` are the texts, and a
    number after a colon is the sentence's. None where a role has no token, or none is needed.

    `names` has the token of each role, `ids` the id of each token.
    """
    used = {word.partition(":")[0] for word in f"{single} {pair}".split()} - {"A", "B"}
    if not used or used - names.keys():
        return None
    return {
        "type": "TemplateProcessing",
        "single": _items(single, names),
        "pair": _items(pair, names),
        "special_tokens": {
            name: {"id": name, "ids": [ids[name]], "tokens": [name]}
            for name in sorted({names[role] for role in used})
        },
    }


def _items(form: str, names: Mapping[str, str]) -> list[dict[str, Any]]:
    made = []
    for word in form.split():
        name, _, sentence = word.partition(":")
        kind = "Sequence" if name in ("A", "B") else "SpecialToken"
        made.append({kind: {"id": names.get(name, name), "type_id": int(sentence or 0)}})
    return made


class Slot(NamedTuple):
    """What stands at one place of a form."""

    what: str | int
    """A text, "A" or "B", or the id of a control token."""
    segment: int = 0


class Forms(NamedTuple):
    """How a section writes one text, and two."""

    single: tuple[Slot, ...]
    pair: tuple[Slot, ...]


A, B = Slot("A"), Slot("B")


def forms(section: Any) -> Forms | None:
    """What a section puts where; None where it adds nothing. DataError for one that says none.

    >>> forms({"type": "RobertaProcessing", "cls": ["<s>", 0], "sep": ["</s>", 2]}).single
    (Slot(what=0, segment=0), Slot(what='A', segment=0), Slot(what=2, segment=0))
    """
    with _understood():
        return _forms(section)


def _forms(section: Any) -> Forms | None:
    kind = section["type"] if section else None
    if kind == "Sequence":
        found = [_forms(inner) for inner in section["processors"]]
        return next((each for each in found if each is not None), None)
    if kind == "BertProcessing":
        cls, sep = Slot(int(section["cls"][1])), Slot(int(section["sep"][1]))
        second = (B._replace(segment=1), sep._replace(segment=1))
        return Forms((cls, A, sep), (cls, A, sep, *second))
    if kind == "RobertaProcessing":
        cls, sep = Slot(int(section["cls"][1])), Slot(int(section["sep"][1]))
        return Forms((cls, A, sep), (cls, A, sep, sep, B, sep))
    if kind != "TemplateProcessing":
        return None
    tokens = section["special_tokens"]
    return Forms(*(tuple(_slots(section[name], tokens)) for name in ("single", "pair")))


def _slots(items: Any, tokens: Any) -> Iterator[Slot]:
    for item in items:
        ((kind, told),) = item.items()
        here = [str(told["id"])] if kind == "Sequence" else tokens[told["id"]]["ids"]
        for what in here:
            yield Slot(what if kind == "Sequence" else int(what), int(told["type_id"]))


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError, ValueError):
        raise DataError("post_processor: cannot be understood") from None


def starting_ids(section: Any) -> list[int]:
    """Ids before the text; DataError for a section that says none.

    >>> starting_ids({"type": "RobertaProcessing", "cls": ["<s>", 0], "sep": ["</s>", 2]})
    [0]
    """
    with _understood():
        return _starting(section)


def _starting(section: Any) -> list[int]:
    kind = section["type"] if section else None
    if kind == "Sequence":
        return [id for inner in section["processors"] for id in _starting(inner)]
    if kind in ("RobertaProcessing", "BertProcessing"):
        return [int(section["cls"][1])]
    ids: list[int] = []
    for item in section["single"] if kind == "TemplateProcessing" else ():
        if "SpecialToken" not in item:
            break
        ids += section["special_tokens"][item["SpecialToken"]["id"]]["ids"]
    return ids
