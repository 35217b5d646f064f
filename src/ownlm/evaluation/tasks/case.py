"""What is judged: records, what was said of them, and how intervals are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

from ownlm.data.tasks.predictions import Prediction
from ownlm.data.tasks.records import Record
from ownlm.evaluation.tasks.figures import Draws


@dataclass(frozen=True)
class Case:
    """Records of one kind and a prediction for each."""

    kind: str
    records: Sequence[Record]
    predictions: Sequence[Prediction]
    labels: tuple[str, ...]
    draws: Draws
