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
from ownlm.objectives.make import REMEMBER
from ownlm.objectives.tasks.classify import Classify, Regress
from ownlm.objectives.tasks.config import TaskOptions
from ownlm.objectives.tasks.converse import Converse
from ownlm.objectives.tasks.embed import HEAD as EMBEDS
from ownlm.objectives.tasks.embed import Embed
from ownlm.objectives.tasks.marks import LONGEST, Marks, marks
from ownlm.objectives.tasks.span import Span
from ownlm.objectives.tasks.tag import Tag
from ownlm.objectives.tasks.task import Task
from ownlm.objectives.tasks.write import Generate, Rewrite, Translate, Writes
from ownlm.objectives.two_sided import Frame
from ownlm.objectives.vocabulary import roles
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
    def side(self) -> int:
        """Tokens of a sequence, or of either side."""
        return min(self.options.longest or LONGEST, self.architecture.context)

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
    generate: Generate | None = None,
) -> Task:
    """The task named `kind` for the model that `config` (config.json, under any head) describes.
    Tasks that write texts predict with `generate` (inference.batch.generate).

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
    if isinstance(task, Writes):
        task.generate = generate
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
        unanswerable=p.options.unanswerable,
        none_threshold=p.options.none_threshold,
        longest_answer=p.options.longest_answer,
        start=p.start,
    )


def _seq2seq(p: Parts) -> Task:
    o = p.options
    told: dict[str, Any] = {"beams": o.beams, "smoothing": o.smoothing, "prefix": o.prefix}
    if p.architecture.encoder is not None:
        named = roles(p.tokenizer.special)
        end = named.get("end", p.tokenizer.eos_id)
        frame = Frame.of(named, p.start if p.start is not None else end, end)
        return Translate(p.tokenizer, frame, longest=p.side, **told)
    _require_decoder(p, "seq2seq")
    if o.both_ways and family_of(p.config).name in REMEMBER:
        raise ConfigError(
            f"{family_of(p.config).name} reads in one direction only",
            where="both_ways",
            next_command="leave out both_ways, or choose a family such as gpt2 or llama",
        )
    told |= {"separator": o.separator, "both_ways": o.both_ways}
    return Rewrite(p.tokenizer, longest=p.side, **told)


def _chat(p: Parts) -> Task:
    _require_decoder(p, "chat")
    o = p.options
    return Converse(p.tokenizer, longest=p.side, beams=o.beams, smoothing=o.smoothing)


def _embed(p: Parts) -> Task:
    if p.architecture.encoder is not None:
        raise ConfigError(
            "the task 'embed' needs a model of one stack",
            where="task",
            next_command="an encoder such as BERT or MiniLM",
        )
    o = p.options
    told: dict[str, Any] = {"temperature": o.temperature, "prefix": o.prefix}
    return Embed(p.tokenizer, p.marks, pooling=o.pooling or "mean", **told)


def _require_decoder(p: Parts, kind: str) -> None:
    a = p.architecture
    if not (a.stack.causal and a.head.vocab and a.encoder is None):
        raise ConfigError(
            f"the task {kind!r} needs a model that writes",
            where="task",
            next_command="a decoder such as GPT-2 or LLaMA"
            + ("" if kind == "chat" else ", or an encoder-decoder such as T5"),
        )


HEADS = {
    "classify": SEQUENCE,
    "pair": SEQUENCE,
    "regress": SEQUENCE,
    "tag": TOKEN,
    "span": SPAN,
    "embed": EMBEDS,
}
"""What stands on the model for each task; other tasks say words."""

MAKERS: dict[str, Callable[[Parts], Task]] = {
    "classify": _classify,
    "pair": _classify,
    "regress": _regress,
    "tag": _tag,
    "span": _span,
    "seq2seq": _seq2seq,
    "chat": _chat,
    "embed": _embed,
}
"""How each is made."""
