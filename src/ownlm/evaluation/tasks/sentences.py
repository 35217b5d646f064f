"""Baselines that give parts of what was read."""

import math
import re
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence

from ownlm.data.tasks.predictions import Extract, Prediction, Writing
from ownlm.data.tasks.records import Parallel, Question
from ownlm.evaluation.tasks.words import words

_SENTENCE = re.compile(r".+?(?:[.!?]+[\"'”’)\]]*(?=\s|$)|[。！？]+[”’」）]*|\n|$)", re.DOTALL)


def best_sentence(train: Sequence[Question], test: Sequence[Question]) -> list[Prediction]:
    """The sentence that shares most with the question, rare words counting more."""
    contexts = {one.context for one in (*train, *test)}
    spread = Counter(word for text in contexts for word in {*words(text)})
    weight = {word: math.log(1 + len(contexts) / times) for word, times in spread.items()}
    found: list[Prediction] = []
    for one in test:
        asked = {*words(one.question)}
        parts = [*sentences(one.context)] or [(0, one.context)]
        scores = [sum(weight[w] for w in asked & {*words(text)}) for _, text in parts]
        best = max(range(len(parts)), key=lambda at: (scores[at], -at))
        start, text = parts[best]
        found.append(Extract(text, start, scores[best]))
    return found


def sentences(text: str) -> Iterator[tuple[int, str]]:
    """(start, sentence) of each, without the spaces around it."""
    for match in _SENTENCE.finditer(text):
        part = match.group()
        if part.strip():
            yield match.start() + len(part) - len(part.lstrip()), part.strip()


def lead(train: Sequence[Parallel], test: Sequence[Parallel]) -> list[Prediction]:
    """The beginning of each source, as many characters as targets have, whole words."""
    usual = int(statistics.median(len(one.target) for one in train))
    return [Writing(beginning(one.source, usual)) for one in test]


def beginning(text: str, characters: int) -> str:
    """At most so many characters, no word cut.

    >>> beginning("a quick fox", 8)
    'a quick'
    """
    if len(text) <= characters:
        return text
    cut = text[: characters + 1]
    place = max(cut.rfind(" "), cut.rfind("\n"))
    return cut[:place].rstrip() if place > 0 else text[:characters]
