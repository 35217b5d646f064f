"""What stands on a stack, as `architectures` of config.json names it: BertFor... tells the head.

No torch here.
"""

from collections.abc import Mapping
from dataclasses import replace

from ownlm.config import nearest
from ownlm.errors import ConfigError
from ownlm.models.config import ModelConfig
from ownlm.models.family import Row, both
from ownlm.models.hf_config import Reader
from ownlm.nn.config import TaskConfig

CLASSIFIERS = (
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
)
"""Heads that all encoders have."""


def architecture_names(stem: str, heads: tuple[str, ...]) -> tuple[str, ...]:
    """`architectures` that a family reads: ("BertModel", "BertForMaskedLM", ...)."""
    return tuple(stem + head for head in heads)


def read_head(h: Reader, stem: str, heads: tuple[str, ...]) -> str:
    """The head of a config.json: "ForMaskedLM" of "BertForMaskedLM"; the first when unsaid."""
    named = h.values.get("architectures") or [stem + heads[0]]
    known = architecture_names(stem, heads)
    if not isinstance(named, list) or len(named) != 1 or named[0] not in known:
        raise h.fault("architectures", f"{named!r:.80} is not supported; known: {', '.join(known)}")
    return str(named[0]).removeprefix(stem)


def written_head(c: ModelConfig, stem: str, heads: tuple[str, ...]) -> list[str]:
    """`architectures` of a new model: what the user chose, or the family's first."""
    head = c.head or heads[0]
    if head in heads:
        return [stem + head]
    close = nearest(head, list(heads))
    raise ConfigError(
        f"{c.family} has no head {head!r:.80}" + (f", nearest is {close}" if close else ""),
        where="model.head",
        next_command=f"choose among {', '.join(heads)}",
    )


def only_tied(c: ModelConfig) -> None:
    """ConfigError where an output matrix of its own is asked for and the family has none."""
    if not c.tied:
        raise ConfigError(
            f"{c.family} always uses the token table as output",
            where="model.tied",
            next_command="leave out model.tied",
        )


def labels(c: ModelConfig, head: str) -> dict[str, dict[str, object]]:
    """id2label and label2id of a new classifier; nothing for other heads."""
    if not head.endswith(("SequenceClassification", "TokenClassification")):
        return {}
    names = [f"LABEL_{i}" for i in range(c.labels)]
    return {
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
    }


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
    if head == "ForSequenceClassification":
        return replace(pooled, outputs=read_labels(h, default))
    if head == "ForMultipleChoice":
        return replace(pooled, outputs=1)
    token = TaskConfig(dim=pooled.dim, dropout=pooled.dropout)
    if head == "ForTokenClassification":
        return replace(token, outputs=read_labels(h, default))
    if head == "ForQuestionAnswering":
        return replace(token, outputs=2, dropout=0.0)
    return None


def read_dropout(h: Reader, key: str, fallback: str, default: float = 0.1) -> float:
    """Dropout before the classes; null says that of the hidden states."""
    return h.number(key if h.has(key) else fallback, 0, 1, default)


def task_rows(task: TaskConfig, dense: str, out: str, norm: str = "") -> tuple[Row, ...]:
    """Names of a head over classes."""
    rows: tuple[Row, ...] = ()
    if task.transform is not None:
        rows += both(dense, "task.dense", bias=task.transform_bias)
    if task.norm is not None:
        rows += both(norm, "task.norm", bias=task.norm == "layer")
    return (*rows, *both(out, "task.out")) if task.outputs else rows
