"""Whether a tokenizer gives every text back, and keeps control tokens out of reach of text."""

from collections.abc import Iterable, Iterator

from ownlm.evaluation.finding import Finding, at_most
from ownlm.tokenization.tokenizer import Tokenizer

AWKWARD = (
    "",
    " ",
    "  leading, trailing  ",
    "tabs\tand\r\nline ends\n\n\n",
    "NUL \x00, escape \x1b, delete \x7f",
    "naïve café, nai\u0308ve cafe\u0301",  # composed and decomposed
    "中文、日本語、한국어、العربية، עברית",
    "👩🏽‍🚀🏳️‍🌈 \U0010ffff \ufeff\u2028\u200b",
    "1234567890 3.14 1e-5 0xFF",
    "def f(x):\n    return {'a': [x]}\n",
)
"""Short texts that go wrong where a tokenizer normalises, splits or drops."""


def check_round_trip(tokenizer: Tokenizer, texts: Iterable[str]) -> Finding:
    """decode(encode(text)) == text for the texts given and some awkward ones."""
    all_texts = [*texts, *AWKWARD]
    lost = [text for text in all_texts if tokenizer.decode(tokenizer.encode(text)) != text]
    detail = f"{len(all_texts)} texts" + (f", first lost: {lost[0][:60]!r}" if lost else "")
    return at_most("tokenizer gives text back", len(lost), 0, "texts changed", detail)


def check_controls(tokenizer: Tokenizer) -> Finding:
    """No text may become a control token, neither its name nor names glued together.

    The unknown token is what text may become, where there is one.
    """
    controls = set(tokenizer.special.values()) - {tokenizer.unk_id}
    tried = list(_names(tokenizer.special))
    forged = [text for text in tried if controls & set(tokenizer.encode(text))]
    detail = f"{len(tried)} forgeries" + (f", first: {forged[0]!r}" if forged else "")
    return at_most("text cannot forge control tokens", len(forged), 0, "forged", detail)


def _names(special: Iterable[str]) -> Iterator[str]:
    names = list(special)
    for name in names:
        yield from (name, f" {name} ", f"a{name}b", f"\n{name}\n", name * 2, name.upper())
        yield from (f"{name[:-1]}{other}{name[-1:]}" for other in names)
