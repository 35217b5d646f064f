"""Words of any script, for measures and baselines that count them.

Chinese, Japanese, Thai and their like are written without spaces: there, each character counts.
"""

import re
from collections.abc import Iterable

SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # kana, Han
)
_MARKS = r"\s!-/:-@\[-`{-~\u00a1-\u00bf\u2000-\u206f\u3000-\u303f\uff00-\uff0f\uff1a-\uff20"
_CHARACTER = re.compile(f"[{SPACELESS}]")
_WORD = re.compile(f"[{SPACELESS}]|[^{_MARKS}{SPACELESS}]+")
ENOUGH = 0.3
"""Share of such characters from which a text counts as one without spaces."""


def words(text: str) -> list[str]:
    """Lower-case words without punctuation; characters where no spaces are written.

    >>> words("Don't use GPT模型!")
    ['don', 't', 'use', 'gpt', '模', '型']
    """
    return _WORD.findall(text.lower())


def spaceless(texts: Iterable[str]) -> bool:
    """Whether these texts are written without spaces between words."""
    found = letters = 0
    for text in texts:
        found += len(_CHARACTER.findall(text))
        letters += sum(map(str.isalnum, text))
    return found > ENOUGH * max(1, letters)


def english(texts: Iterable[str]) -> bool:
    """Whether nearly all letters are those of English."""
    plain = letters = 0
    for text in texts:
        letters += sum(map(str.isalpha, text))
        plain += sum(one.isascii() and one.isalpha() for one in text)
    return plain >= 0.99 * letters
