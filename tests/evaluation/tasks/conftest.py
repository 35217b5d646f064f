"""Records made by hand, one function a kind."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from ownlm.data.tasks.records import Answer as Found
from ownlm.data.tasks.records import Labelled, Origin, Parallel, Question, Scored, Tagged


class Make:
    """Records, each of its own line, none like another."""

    def __init__(self) -> None:
        self.line = 0

    def origin(self) -> Origin:
        self.line += 1
        return Origin("made.tsv", str(self.line))

    def labelled(self, *labels: str, text: str = "", pair: str | None = None) -> Labelled:
        origin = self.origin()
        text = text or f"text number {self.line}"
        return Labelled(origin=origin, text=text, pair=pair, labels=labels)

    def scored(self, score: float, text: str = "", pair: str | None = None) -> Scored:
        origin = self.origin()
        return Scored(origin=origin, text=text or f"text {self.line}", pair=pair, score=score)

    def tagged(
        self, tags: Sequence[str], words: Sequence[str] = (), predicate: int | None = None
    ) -> Tagged:
        origin = self.origin()
        words = tuple(words) or tuple(f"w{self.line}_{n}" for n in range(len(tags)))
        return Tagged(origin=origin, words=words, tags=tuple(tags), predicate=predicate)

    def question(self, *answers: str, context: str = "", question: str = "What?") -> Question:
        origin = self.origin()
        context = context or f"Context {self.line} has {' and '.join(answers)}."
        found = tuple(Found(one, context.find(one)) for one in answers)
        return Question(origin=origin, context=context, question=question, answers=found)

    def parallel(self, source: str, target: str) -> Parallel:
        return Parallel(origin=self.origin(), source=source, target=target)


@pytest.fixture
def make() -> Make:
    return Make()


@pytest.fixture
def drawn() -> Callable[[Sequence[str], int], list[str]]:
    """Labels drawn at random, always the same."""

    def draw(labels: Sequence[str], count: int) -> list[str]:
        rng = np.random.default_rng(count)
        return [str(one) for one in rng.choice(list(labels), count)]

    return draw
