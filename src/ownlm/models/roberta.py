"""RoBERTa (Liu et al. 2019, arXiv:1907.11692).

Against BERT: trained longer on more text without the next-sentence task, hence one type of
sentence and no pooler before the classes but a dense layer of the head's own; byte-level BPE;
positions begin behind the padding's number.
"""

from dataclasses import replace
from typing import Any

from ownlm.models.bert import (
    IGNORED,
    encoder_from_hf,
    encoder_names,
    encoder_to_hf,
    with_vocabulary,
)
from ownlm.models.bert import size as bert_size
from ownlm.models.config import ModelConfig
from ownlm.models.family import Architecture, Family, Names, Row, both
from ownlm.models.heads import CLASSIFIERS, architecture_names, read_head, task_rows
from ownlm.models.hf_config import LIMITS, Reader
from ownlm.nn.config import TaskConfig

HEADS = ("ForMaskedLM", "Model", *CLASSIFIERS)
PAD = 1
"""The padding's number in new models; positions count from the next one."""

SIZES = {
    "roberta-base": bert_size("roberta", 12, 768, 12, 50_265, 512, eps=1e-5),
    "roberta-large": bert_size("roberta", 24, 1024, 16, 50_265, 512, eps=1e-5),
}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new RoBERTa, whose tokenizer must give padding the number 1."""
    return encoder_to_hf(c, "Roberta", HEADS) | {
        "type_vocab_size": 1,
        "max_position_embeddings": c.context + PAD + 1,
        "pad_token_id": PAD,
    }


def from_hf(h: Reader) -> Architecture:
    """The architecture of a RoBERTa config.json."""
    head = read_head(h, "Roberta", HEADS)
    a = encoder_from_hf(h, head, "tanh")
    offset = int(h.number("pad_token_id", 0, LIMITS["vocabulary"], PAD)) + 1
    if a.context <= offset:
        raise h.fault("max_position_embeddings", f"expected more than {offset}")
    a = replace(a, embed=replace(a.embed, offset=offset), context=a.context - offset)
    if head == "Model":
        return replace(a, task=TaskConfig(dim=a.stack.dim, pool="first", transform="tanh"))
    if head == "ForSequenceClassification" and a.task is not None:
        return replace(a, task=replace(a.task, dropout_pooled=a.task.dropout))
    return with_vocabulary(a, "gelu") if head == "ForMaskedLM" else a


DENSE = {"ForSequenceClassification": "classifier.dense"}
OUT = {"ForSequenceClassification": "classifier.out_proj", "ForQuestionAnswering": "qa_outputs"}


def names(a: Architecture) -> Names:
    """Tensor names of RobertaForMaskedLM and of the other heads."""
    base = "" if a.form == "Model" else "roberta."
    rows = encoder_names(a, base)
    if a.head.vocab:
        rows += (
            *both("lm_head.dense", "head.dense"),
            *both("lm_head.layer_norm", "head.norm"),
            Row(("lm_head.bias",), "head.bias"),
        )
    if a.task is not None:
        dense = DENSE.get(a.form, base + "pooler.dense")
        rows += task_rows(a.task, dense, OUT.get(a.form, "classifier"))
    copies = (("lm_head.bias", "lm_head.decoder.bias"),)
    return Names(rows, "roberta.", (*IGNORED, "lm_head.*", "roberta.pooler.*"), copies)


ROBERTA = Family(
    name="roberta",
    model_types=("roberta",),
    architectures=architecture_names("Roberta", HEADS),
    sizes=SIZES,
    to_hf=to_hf,
    from_hf=from_hf,
    names=names,
)
