"""What stands on a stack, as `architectures` of config.json names it: BertFor... tells the head.

No torch here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from ownlm.config import nearest
from ownlm.errors import ConfigError
from ownlm.models.config import ModelConfig
from ownlm.models.family import Row, both
from ownlm.models.hf_config import Reader
from ownlm.nn.config import HeadConfig, TaskConfig

SEQUENCE, TOKEN, SPAN, CHOICE = (
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
)
CLASSIFIERS = (SEQUENCE, TOKEN, SPAN, CHOICE)
"""Heads that all encoders have. A sequence's with one label is a regression, and on a decoder
the reward of preference learning."""


def classes(stem: str, *heads: str) -> dict[str, str]:
    """Heads and the reference's classes: {"ForMaskedLM": "BertForMaskedLM", ...}."""
    return {head: stem + head for head in heads}


def read_head(h: Reader, heads: Mapping[str, str]) -> str:
    """The head of a config.json: "ForMaskedLM" of "BertForMaskedLM"; the first when unsaid."""
    named = h.values.get("architectures") or [next(iter(heads.values()))]
    for head, name in heads.items():
        if named == [name]:
            return head
    known = ", ".join(heads.values())
    raise h.fault("architectures", f"{named!r:.80} is not supported; known: {known}")


def written_head(c: ModelConfig, heads: Mapping[str, str]) -> dict[str, Any]:
    """What config.json says of the head that the user chose, or of the family's first."""
    return told_head(c.head or next(iter(heads)), heads, numbered(c.labels), c.family)


def told_head(
    head: str, heads: Mapping[str, str], labels: Sequence[str], family: str
) -> dict[str, Any]:
    """The keys of config.json that tell the head; ConfigError where the family has none such."""
    if head not in heads:
        close = nearest(head, list(heads))
        raise ConfigError(
            f"{family} has no head {head!r:.80}" + (f", nearest is {close}" if close else ""),
            where="model.head",
            next_command=f"choose among {', '.join(heads)}",
        )
    named = {"architectures": [heads[head]]}
    if head not in (SEQUENCE, TOKEN):
        return named
    return named | {
        "id2label": {str(i): name for i, name in enumerate(labels)},
        "label2id": {name: i for i, name in enumerate(labels)},
    }


def numbered(count: int) -> list[str]:
    """Labels without a meaning yet."""
    return [f"LABEL_{i}" for i in range(count)]


def read_labels(h: Reader, default: int = 2) -> int:
    """How many classes there are: the entries of id2label, or num_labels."""
    named = h.values.get("id2label")
    if isinstance(named, Mapping) and named:
        return Reader({"id2label": len(named)}, h.where).integer("id2label", "vocabulary")
    return h.integer("num_labels", "vocabulary", default)


def task_of(h: Reader, head: str, pooled: TaskConfig, default: int = 2) -> TaskConfig | None:
    """The head over classes, None where there is none.

    `pooled` is what the family puts between the stack and the classes of a whole sequence.
    """
    if head == SEQUENCE:
        return replace(pooled, outputs=read_labels(h, default))
    if head == CHOICE:
        return replace(pooled, outputs=1)
    token = TaskConfig(dim=pooled.dim, dropout=pooled.dropout)
    if head == TOKEN:
        return replace(token, outputs=read_labels(h, default))
    if head == SPAN:
        return replace(token, outputs=2, dropout=0.0)
    return None


def read_dropout(h: Reader, key: str, fallback: str, default: float = 0.1) -> float:
    """Dropout before the classes; null says that of the hidden states."""
    return h.number(key if h.has(key) else fallback, 0, 1, default)


def task_rows(task: TaskConfig | None, dense: str, out: str, norm: str = "") -> tuple[Row, ...]:
    """Names of a head over classes; none where there is no such head."""
    if task is None:
        return ()
    rows: tuple[Row, ...] = ()
    if task.transform is not None:
        rows += both(dense, "task.dense", bias=task.transform_bias)
    if task.norm is not None:
        rows += both(norm, "task.norm", bias=task.norm == "layer")
    return (*rows, *both(out, "task.out", bias=task.bias)) if task.outputs else rows


def vocabulary_rows(head: HeadConfig, name: str) -> tuple[Row, ...]:
    """Names of the output matrix and its bias; none where there is no such head."""
    if not head.vocab:
        return ()
    weight, *bias = both(name, "head", bias=head.bias)
    return tuple(bias) if head.tied else (weight, *bias)
