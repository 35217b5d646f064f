"""ELECTRA (Clark et al. 2020, arXiv:2003.10555).

Against BERT: a small masked LM (the generator, ForMaskedLM) fills gaps, and the model itself
(the discriminator, ForPreTraining) tells at every token whether it was replaced. Token vectors
may be narrower than the stack; classifiers use GELU where BERT's pooler has tanh.
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
from ownlm.models.family import Architecture, Family, Names, Paper, both
from ownlm.models.heads import (
    CHOICE,
    CLASSIFIERS,
    SEQUENCE,
    SPAN,
    TOKEN,
    classes,
    read_head,
    task_rows,
)
from ownlm.models.hf_config import Reader
from ownlm.nn.config import TaskConfig

HEADS = classes("Electra", "ForPreTraining", "ForMaskedLM", "Model", *CLASSIFIERS)
NARROW = 128
"""Width of token vectors in small models and generators."""

SIZES = {
    "electra-small-generator": size("electra", 12, 256, 4, 30_522, 512).with_values(
        {"head": "ForMaskedLM", "hidden": 1024}
    ),
    "electra-small-discriminator": size("electra", 12, 256, 4, 30_522, 512),
    "electra-base-discriminator": size("electra", 12, 768, 12, 30_522, 512),
    "electra-large-discriminator": size("electra", 24, 1024, 16, 30_522, 512),
}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new ELECTRA; models up to 256 wide have narrow token vectors."""
    return encoder_to_hf(c, HEADS) | {
        "embedding_size": min(c.dim, NARROW) if c.dim <= 2 * NARROW else c.dim,
        "summary_type": "first",
        "summary_use_proj": True,
        "summary_activation": "gelu",
        "summary_last_dropout": c.dropout,
    }


def from_hf(h: Reader) -> Architecture:
    """The architecture of an ELECTRA config.json."""
    h.require({
        "summary_type": ("first",), "summary_use_proj": (True,), "summary_activation": ("gelu",),
    })  # fmt: skip
    head = read_head(h, HEADS)
    a = encoder_from_hf(h, head, "gelu")
    a = replace(a, embed=replace(a.embed, width=h.integer("embedding_size", "width", NARROW)))
    if head == "ForPreTraining":
        task = TaskConfig(dim=a.stack.dim, outputs=1, transform=a.stack.act)
        return replace(a, task=task)
    if head == SEQUENCE and a.task is not None:
        return replace(a, task=replace(a.task, dropout_pooled=a.task.dropout))
    if head == CHOICE and a.task is not None:
        last = h.number("summary_last_dropout", 0, 1, 0.1)
        return replace(a, task=replace(a.task, dropout=last))
    return with_vocabulary(a, "gelu") if head == "ForMaskedLM" else a


# fmt: off
TASKS = {
    "ForPreTraining": ("discriminator_predictions.dense",
                       "discriminator_predictions.dense_prediction"),
    SEQUENCE: ("classifier.dense",         "classifier.out_proj"),
    CHOICE:   ("sequence_summary.summary", "classifier"),
    TOKEN:    ("",                         "classifier"),
    SPAN:     ("",                         "qa_outputs"),
}
# fmt: on
"""Names of a head's dense layer and of what reads the classes off."""


def names(a: Architecture) -> Names:
    """Tensor names of ElectraForPreTraining and of the other heads."""
    base = "" if a.form == "Model" else "electra."
    rows = encoder_names(a, base)
    if a.embed.width != a.embed.dim:
        rows += both(base + "embeddings_project", "embed.project")
    dense, norm = "generator_predictions.dense", "generator_predictions.LayerNorm"
    rows += vocabulary_names(a, dense, norm, "generator_lm_head.bias")
    rows += task_rows(a.task, *TASKS.get(a.form, ("", "")))
    unused = ("generator_lm_head.*", "generator_predictions.*", "discriminator_predictions.*")
    return Names(rows, "electra.", (*IGNORED, *unused))


PAPER = Paper("ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators",
              "Clark et al.", 2020, "2003.10555")  # fmt: skip
ELECTRA = Family(
    "electra", "electra", HEADS, SIZES, to_hf, from_hf, names, (PAPER,),
    after="bert", example="electra-base-discriminator",
)  # fmt: skip
