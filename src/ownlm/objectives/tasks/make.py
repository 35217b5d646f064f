"""From the name of a task and its options to the task, for a given model and tokenizer.

A finetuned model's folder keeps name and options (`ownlm_task` of config.json) and labels
(`id2label`), so that the same task is made again to predict.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ownlm.errors import ConfigError
from ownlm.models.families import family_of
from ownlm.models.family import Architecture, Family
from ownlm.models.heads import SEQUENCE, SPAN, TOKEN
from ownlm.models.hf_config import Reader
from ownlm.objectives.tasks.classify import Classify, Regress
from ownlm.objectives.tasks.config import TaskOptions
from ownlm.objectives.tasks.marks import Marks, marks
from ownlm.objectives.tasks.span import Span
from ownlm.objectives.tasks.tag import Tag
from ownlm.objectives.tasks.task import Task
from ownlm.tokenization.tokenizer import Tokenizer

RELATIVE = ("xlnet",)
"""Families that tell segments apart by their being equal or not."""
KEY = "ownlm_task"
"""Of config.json: the name of the task and its options."""


class Parts(NamedTuple):
    """What a task is made of."""

    options: TaskOptions
    tokenizer: Tokenizer
    labels: tuple[str, ...]
    architecture: Architecture
    """Of the model under the head of the task."""
    config: Mapping[str, Any]
    """Its config.json."""
    relative: bool

    @property
    def marks(self) -> Marks:
        """How texts are marked."""
        longest = self.options.longest
        return marks(self.tokenizer, self.architecture, longest=longest, relative=self.relative)

    @property
    def start(self) -> int | None:
        """What the decoder of an encoder-decoder begins with; None for other models."""
        if self.architecture.encoder is None:
            return None
        told = self.config.get("decoder_start_token_id")
        return int(told) if told is not None else self.tokenizer.eos_id


def make_task(
    kind: str,
    options: TaskOptions,
    tokenizer: Tokenizer,
    config: Mapping[str, Any],
    labels: Sequence[str] = (),
) -> Task:
    """The task named `kind` for the model that `config` (config.json, under any head) describes.

    ConfigError where the family cannot do it, or where the kind is unknown.
    """
    if kind not in MAKERS:
        raise ConfigError(
            f"no task {kind!r:.80}",
            where="task",
            next_command=f"choose among {', '.join(MAKERS)}",
        )
    family = family_of(config)
    head = head_of(kind, family)
    told = {**config, "architectures": [family.heads[head]]} if head else config
    architecture = family.from_hf(Reader(dict(told)))
    relative = family.name in RELATIVE
    task = MAKERS[kind](Parts(options, tokenizer, tuple(labels), architecture, config, relative))
    task.head = head
    return task


def head_of(kind: str, family: Family) -> str:
    """The head of a family that a task stands on; ConfigError where there is none."""
    wanted = HEADS.get(kind, "")
    found = [head for head in family.heads if head.startswith(wanted)] if wanted else [""]
    if not found:
        raise ConfigError(
            f"{family.name} has no head for the task {kind!r}",
            where="task",
            next_command=f"a model of another family; {family.name} has {', '.join(family.heads)}",
        )
    return found[0]


def _classify(p: Parts) -> Task:
    return Classify(
        p.tokenizer,
        p.marks,
        p.labels,
        several=p.options.multi_label,
        weighted=p.options.class_weights == "balanced",
        smoothing=p.options.smoothing,
        prefix=p.options.prefix,
        start=p.start,
    )


def _regress(p: Parts) -> Task:
    return Regress(p.tokenizer, p.marks, prefix=p.options.prefix, start=p.start)


def _tag(p: Parts) -> Task:
    return Tag(
        p.tokenizer,
        p.marks,
        p.labels,
        stride=p.options.stride,
        every_piece=p.options.every_piece,
        smoothing=p.options.smoothing,
        start=p.start,
    )


def _span(p: Parts) -> Task:
    return Span(
        p.tokenizer,
        p.marks,
        stride=p.options.stride,
        no_answer=p.options.no_answer,
        none_threshold=p.options.none_threshold,
        longest_answer=p.options.longest_answer,
        start=p.start,
    )


HEADS = {
    "classify": SEQUENCE,
    "pair": SEQUENCE,
    "regress": SEQUENCE,
    "tag": TOKEN,
    "span": SPAN,
}
"""What stands on the model for each task; other tasks say words."""

MAKERS: dict[str, Callable[[Parts], Task]] = {
    "classify": _classify,
    "pair": _classify,
    "regress": _regress,
    "tag": _tag,
    "span": _span,
}
"""How each is made."""
