"""What every decoder can carry besides its vocabulary: classes of a text, of tokens, of spans.

A decoder's file tells its body; `decoder` adds the heads. A sequence's classes are read off its
last real token, which has seen all others; one class is a score, as a reward is. No torch here.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.family import Architecture, Family, Names
from ownlm.models.heads import (
    SEQUENCE,
    SPAN,
    TOKEN,
    classes,
    read_dropout,
    read_head,
    task_of,
    task_rows,
    vocabulary_rows,
    written_head,
)
from ownlm.models.hf_config import Reader
from ownlm.nn.config import HeadConfig, TaskConfig

OUT = {SEQUENCE: "score", TOKEN: "score", SPAN: "qa_outputs"}
"""Where the classes are read off, in LLaMA's style."""
GPT_OUT = OUT | {TOKEN: "classifier"}
"""And in GPT-2's."""


def decoder_heads(stem: str, *classifiers: str, writes: str = "ForCausalLM") -> dict[str, str]:
    """What stands on a decoder: the head that writes, nothing, or one of `classifiers`."""
    return classes(stem, writes, "Model", *classifiers)


def decoder(
    family: Family,
    *,
    out: Mapping[str, str] = OUT,
    vocabulary: str = "lm_head",
    span_prefix: str = "",
) -> Family:
    """A family whose functions tell only the body, completed by its heads.

    `out` and `vocabulary` name the matrices that classes and tokens are read off; where spans
    are told, the reference may call the body otherwise (`span_prefix`).
    """

    def to_hf(c: ModelConfig) -> dict[str, Any]:
        own = {"classifier_dropout": c.dropout} if c.head == TOKEN else {}
        head = written_head(c, family.heads)
        return head | {"model_type": family.model_type} | family.to_hf(c) | own

    def from_hf(h: Reader) -> Architecture:
        return _with_head(family.from_hf(h), h, read_head(h, family.heads))

    def names(a: Architecture) -> Names:
        body = family.names(a)
        prefixes = {"Model": "", SPAN: span_prefix or body.prefix}
        moved = _moved(body, prefixes.get(a.form, body.prefix))
        head = vocabulary_rows(a.head, vocabulary) + task_rows(a.task, "", out.get(a.form, ""))
        twice = (f"{vocabulary}.weight",) if a.head.vocab and a.head.tied else ()
        return replace(moved, rows=moved.rows + head, ignored=moved.ignored + twice)

    return replace(family, to_hf=to_hf, from_hf=from_hf, names=names)


def _with_head(a: Architecture, h: Reader, head: str) -> Architecture:
    """A bare model whose token table is all of its head can still write."""
    writes = head not in OUT and (head != "Model" or (a.head.tied and not a.head.bias))
    if writes:
        return replace(a, form=head)
    dropout = read_dropout(h, "classifier_dropout", "hidden_dropout") if head == TOKEN else 0.0
    last = TaskConfig(dim=a.stack.dim, pool="last", bias=False, dropout=dropout)
    none = HeadConfig(vocab=0, dim=a.stack.dim, tied=True)
    return replace(a, form=head, head=none, task=task_of(h, head, last))


def _moved(names: Names, prefix: str) -> Names:
    """The same names below another prefix; without any, files that have one are read too."""

    def move(name: str) -> str:
        return prefix + name.removeprefix(names.prefix)

    rows = tuple(replace(row, theirs=tuple(map(move, row.theirs))) for row in names.rows)
    return replace(
        names,
        rows=rows,
        prefix=prefix or names.prefix,
        ignored=tuple(map(move, names.ignored)),
        copies=tuple((move(name), move(stand_in)) for name, stand_in in names.copies),
    )
