"""RoBERTa (Liu et al. 2019, arXiv:1907.11692).

Against BERT: trained longer on more text without the next-sentence task, hence one type of
sentence and no pooler before the classes but a dense layer of the head's own; byte-level BPE;
positions begin behind the padding's number.
"""

from dataclasses import replace
from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.encoder import (
    IGNORED,
    encoder_from_hf,
    encoder_names,
    encoder_to_hf,
    size,
    vocabulary_names,
    with_vocabulary,
)
from ownlm.models.family import Architecture, Family, Names, Paper
from ownlm.models.heads import CLASSIFIERS, SEQUENCE, SPAN, classes, read_head, task_rows
from ownlm.models.hf_config import LIMITS, Reader
from ownlm.nn.config import TaskConfig

HEADS = classes("Roberta", "ForMaskedLM", "Model", *CLASSIFIERS)
PAD = 1
"""The padding's number in new models; positions count from the next one."""

SIZES = {
    "roberta-base": size("roberta", 12, 768, 12, 50_265, 512, eps=1e-5),
    "roberta-large": size("roberta", 24, 1024, 16, 50_265, 512, eps=1e-5),
}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new RoBERTa, whose tokenizer must give padding the number 1."""
    return encoder_to_hf(c, HEADS) | {
        "type_vocab_size": 1,
        "max_position_embeddings": c.context + PAD + 1,
        "pad_token_id": PAD,
    }


def from_hf(h: Reader) -> Architecture:
    """The architecture of a RoBERTa config.json."""
    head = read_head(h, HEADS)
    a = encoder_from_hf(h, head, "tanh")
    usual = None if "pad_token_id" in h.values else PAD
    offset = int(h.number("pad_token_id", 0, LIMITS["vocabulary"], usual)) + 1
    if a.context <= offset:
        raise h.fault("max_position_embeddings", f"expected more than {offset}")
    a = replace(a, embed=replace(a.embed, offset=offset), context=a.context - offset)
    if head == "Model":
        return replace(a, task=TaskConfig(dim=a.stack.dim, pool="first", transform="tanh"))
    if head == SEQUENCE and a.task is not None:
        return replace(a, task=replace(a.task, dropout_pooled=a.task.dropout))
    return with_vocabulary(a, "gelu") if head == "ForMaskedLM" else a


DENSE = {SEQUENCE: "classifier.dense"}
OUT = {SEQUENCE: "classifier.out_proj", SPAN: "qa_outputs"}


def names(a: Architecture) -> Names:
    """Tensor names of RobertaForMaskedLM and of the other heads."""
    base = "" if a.form == "Model" else "roberta."
    vocabulary = vocabulary_names(a, "lm_head.dense", "lm_head.layer_norm", "lm_head.bias")
    dense = DENSE.get(a.form, base + "pooler.dense")
    rows = encoder_names(a, base) + vocabulary
    rows += task_rows(a.task, dense, OUT.get(a.form, "classifier"))
    copies = (("lm_head.bias", "lm_head.decoder.bias"),)
    return Names(rows, "roberta.", (*IGNORED, "lm_head.*", "roberta.pooler.*"), copies)


PAPER = Paper("RoBERTa: A Robustly Optimized BERT Pretraining Approach", "Liu et al.", 2019,
              "1907.11692")  # fmt: skip
ROBERTA = Family("roberta", "roberta", HEADS, SIZES, to_hf, from_hf, names, (PAPER,), after="bert")
