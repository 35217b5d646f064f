"""BERT (Devlin et al. 2019, arXiv:1810.04805): the Transformer's encoder alone, made to fill gaps.

Against GPT-1: every token sees every other; tokens know whether they belong to sentence A or
B; the head transforms before it reads words off. A pooler on the first token serves classifiers
and the head that tells whether B follows A: the next sentence, or the order of two (ALBERT's
task, which is the same head with other labels).
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
from ownlm.models.heads import CLASSIFIERS, classes, read_head, task_rows
from ownlm.models.hf_config import Reader
from ownlm.nn.config import TaskConfig

PAIRED = ("ForPreTraining", "ForNextSentencePrediction")
"""Heads that tell whether one sentence follows the other."""
HEADS = classes("Bert", PAIRED[0], "ForMaskedLM", PAIRED[1], "Model", *CLASSIFIERS)
OUT = dict.fromkeys(PAIRED, "cls.seq_relationship") | {"ForQuestionAnswering": "qa_outputs"}
"""Where the classes are read off; elsewhere `classifier`."""
RENAMED = ((".gamma", ".weight"), (".beta", ".bias"))
"""Norms of files made from TensorFlow."""

SIZES = {
    "bert-tiny": size("bert", 2, 128, 2, 30_522, 512),
    "bert-mini": size("bert", 4, 256, 4, 30_522, 512),
    "bert-base-uncased": size("bert", 12, 768, 12, 30_522, 512),
    "bert-base-chinese": size("bert", 12, 768, 12, 21_128, 512),
    "bert-large-uncased": size("bert", 24, 1024, 16, 30_522, 512),
}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new BERT."""
    return encoder_to_hf(c, HEADS)


def from_hf(h: Reader) -> Architecture:
    """The architecture of a BERT config.json."""
    head = read_head(h, HEADS)
    a = encoder_from_hf(h, head, "tanh")
    pooler = TaskConfig(dim=a.stack.dim, pool="first", transform="tanh")
    if head in PAIRED:
        a = replace(a, task=replace(pooler, outputs=2))
    if head == "Model":
        a = replace(a, task=pooler)
    return with_vocabulary(a, a.stack.act) if head in ("ForPreTraining", "ForMaskedLM") else a


def names(a: Architecture) -> Names:
    """Tensor names of BertForPreTraining and of the other heads."""
    base, lm = "" if a.form == "Model" else "bert.", "cls.predictions."
    dense, norm = lm + "transform.dense", lm + "transform.LayerNorm"
    rows = encoder_names(a, base) + vocabulary_names(a, dense, norm, lm + "bias")
    rows += task_rows(a.task, base + "pooler.dense", OUT.get(a.form, "classifier"))
    copies = ((lm + "bias", lm + "decoder.bias"),)
    return Names(rows, "bert.", (*IGNORED, "cls.*", "bert.pooler.*"), copies, RENAMED)


PAPER = Paper("BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding",
              "Devlin et al.", 2019, "1810.04805")  # fmt: skip
BERT = Family(
    "bert", "bert", HEADS, SIZES, to_hf, from_hf, names, (PAPER,),
    after="gpt1", example="bert-base-uncased",
)  # fmt: skip
