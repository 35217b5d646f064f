"""What a model says of one record: a prediction a kind of task, ready for JSON.

Models, baselines and files of predictions all speak these, so one judge serves them all.
"""

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Prediction(abc.ABC):
    """What all predictions have."""

    @abc.abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""


@dataclass(frozen=True, slots=True)
class Classified(Prediction):
    """The label of a text or a pair, or its labels where a text may have several or none."""

    labels: tuple[str, ...]
    probabilities: Mapping[str, float] = field(default_factory=dict)
    """Of every label: they sum to 1, or, with several labels a text, each is on its own."""

    def as_dict(self) -> dict[str, Any]:
        """{"labels": ["spam"], "probabilities": {"ham": 0.02, "spam": 0.98}}"""
        found = {label: float(value) for label, value in self.probabilities.items()}
        return {"labels": list(self.labels), "probabilities": found}


@dataclass(frozen=True, slots=True)
class Estimate(Prediction):
    """The number for a text or a pair, in the units of the data."""

    score: float

    def as_dict(self) -> dict[str, Any]:
        """{"score": 3.4}"""
        return {"score": float(self.score)}


@dataclass(frozen=True, slots=True)
class Tagging(Prediction):
    """A tag for every word of a record, chunks as B-X and I-X."""

    tags: tuple[str, ...]
    probabilities: tuple[float, ...] = ()
    """Of each tag given; empty where they are not known."""

    def as_dict(self) -> dict[str, Any]:
        """{"tags": ["B-person", "O"], "probabilities": [0.91, 0.99]}"""
        return {
            "tags": list(self.tags),
            "probabilities": [float(one) for one in self.probabilities],
        }


@dataclass(frozen=True, slots=True)
class Extract(Prediction):
    """An answer found in a context; its text is empty where there is said to be none."""

    text: str
    start: int = -1
    """Offset in characters of the context; -1 without an answer."""
    score: float = 0.0
    """Of the best span: the larger, the surer."""
    none: float = 0.0
    """Of there being no answer, on the same scale as `score`."""

    def as_dict(self) -> dict[str, Any]:
        """{"text": "308", "start": 34, "score": 11.2, "none": -3.0}"""
        scores = {"score": float(self.score), "none": float(self.none)}
        return {"text": self.text, "start": int(self.start)} | scores


@dataclass(frozen=True, slots=True)
class Writing(Prediction):
    """A text that was written: a translation, a summary, an answer."""

    text: str
    complete: bool = True
    """Whether it was ended by the model; False: cut at the longest length allowed."""

    def as_dict(self) -> dict[str, Any]:
        """{"text": "Good morning.", "complete": true}"""
        return {"text": self.text, "complete": self.complete}


@dataclass(frozen=True, slots=True)
class Vector(Prediction):
    """A text as a point; near ones mean alike. Of a record of two texts, both."""

    values: tuple[float, ...]
    pair: tuple[float, ...] = ()
    """Of the second text, where there is one: what embeddings are judged by."""

    def as_dict(self) -> dict[str, Any]:
        """{"values": [0.11, -0.52]}, and "pair" where there is one."""
        found = {"values": [float(one) for one in self.values]}
        return found | ({"pair": [float(one) for one in self.pair]} if self.pair else {})
