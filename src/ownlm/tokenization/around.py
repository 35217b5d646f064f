"""What tokenizer.json puts around a text: its `post_processor` section, written and read."""

from collections.abc import Mapping
from typing import Any

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


def starting_ids(section: Any) -> list[int]:
    """Ids before the text; DataError for a section that says none.

    >>> starting_ids({"type": "RobertaProcessing", "cls": ["<s>", 0], "sep": ["</s>", 2]})
    [0]
    """
    try:
        return _starting(section)
    except (KeyError, TypeError, IndexError, AttributeError, RecursionError):
        raise DataError("post_processor: cannot be understood") from None


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
