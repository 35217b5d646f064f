"""Encoders, heads of all families and encoder-decoders that transformers is to build."""

import re
from typing import Any

from decoder_cases import DECODERS, LLAMA, Case

ENCODER = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 340,
    "num_labels": 3,
}
DISTIL = {"vocab_size": 97, "dim": 32, "hidden_dim": 48, "n_layers": 3, "n_heads": 4,
          "max_position_embeddings": 340, "num_labels": 3}  # fmt: skip
MODERN = ENCODER | {"local_attention": 48} | dict.fromkeys(
    ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 1
)  # fmt: skip
CLASSIFIERS = ("SequenceClassification", "TokenClassification", "QuestionAnswering",
               "MultipleChoice")  # fmt: skip


def _forms(stem: str, values: dict[str, Any], *heads: str) -> dict[str, Case]:
    """One row a head: ForMaskedLM, Model, and the classifiers that all encoders have."""
    forms = ["ForMaskedLM", "Model", *(f"For{head}" for head in (*CLASSIFIERS, *heads))]
    span = {"num_labels": 2}
    return {
        f"{stem}{form}": Case(stem + form, values | (span if "Question" in form else {}))
        for form in forms
    }


ENCODERS: dict[str, Case] = {
    **_forms("Bert", ENCODER, "PreTraining", "NextSentencePrediction"),
    **_forms("Roberta", ENCODER),
    **_forms("ModernBert", MODERN),
    **_forms("DistilBert", DISTIL),
    **_forms("Electra", ENCODER | {"embedding_size": 16}, "PreTraining"),
    "modernbert-mean-biases": Case(
        "ModernBertForSequenceClassification",
        MODERN | {"classifier_pooling": "mean", "norm_bias": True, "classifier_bias": True,
                  "attention_bias": True, "mlp_bias": True},
        {"classifier_pooling": "cls"},
    ),
    "modernbert-attention-dropout": Case("ModernBertModel", MODERN | {"attention_dropout": 0.3}),
    "electra-wide": Case("ElectraForMaskedLM", ENCODER | {"embedding_size": 32}),
    # One perturbed control a family.
    "bert": Case("BertForMaskedLM", ENCODER,
                 {"layer_norm_eps": 0.01, "hidden_act": "relu", "num_attention_heads": 8}),
    "roberta": Case("RobertaForMaskedLM", ENCODER, {"pad_token_id": 0}),
    "modernbert": Case("ModernBertForMaskedLM", MODERN,
                       {"local_attention": 50, "norm_eps": 0.01, "layer_types": None}),
    "distilbert": Case("DistilBertForMaskedLM", DISTIL, {"activation": "relu", "n_heads": 8}),
    "electra": Case("ElectraForMaskedLM", ENCODER | {"embedding_size": 16},
                    {"num_attention_heads": 8}),
}  # fmt: skip
T5 = {
    "vocab_size": 97, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_heads": 4,
    "num_decoder_layers": 3, "num_labels": 3, "decoder_start_token_id": 0,
}  # fmt: skip
GATED = T5 | {"feed_forward_proj": "gated-gelu"}
BART = {
    "vocab_size": 97, "d_model": 32, "max_position_embeddings": 340, "num_labels": 3,
    "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 48,
    "decoder_layers": 3, "decoder_attention_heads": 8, "decoder_ffn_dim": 40,
}  # fmt: skip
MARIAN = BART | {
    "activation_function": "relu", "scale_embedding": True, "decoder_vocab_size": 97,
    "pad_token_id": 0, "decoder_start_token_id": 0, "eos_token_id": 2,
}  # fmt: skip
LABELS = {"num_labels": 3, "pad_token_id": 0}
DECODER_HEADS = {
    name: Case(name, case.values | (LABELS if "For" in head else {"pad_token_id": 0}))
    for case in DECODERS.values()
    for head in case.heads
    for name in [re.sub("(ForCausalLM|LMHeadModel)$", head, case.model)]
}
ENCODERS |= DECODER_HEADS | {
    "reward": Case("LlamaForSequenceClassification", LLAMA | LABELS | {"num_labels": 1}),
    "T5EncoderModel": Case("T5EncoderModel", T5),
    "T5ForTokenClassification": Case("T5ForTokenClassification", GATED),
    "MT5EncoderModel": Case("MT5EncoderModel", GATED),
    "MT5ForTokenClassification": Case("MT5ForTokenClassification", T5),
}  # all that answer in one pass rather than write
PAIRS: dict[str, Case] = {
    "t5": Case("T5ForConditionalGeneration", T5,
               {"relative_attention_max_distance": 140, "layer_norm_epsilon": 0.1}),
    "t5-v1.1": Case("T5ForConditionalGeneration", GATED | {"tie_word_embeddings": False},
                    {"feed_forward_proj": "gated-silu"}),
    "t5-model": Case("T5Model", T5),
    "mt5-sequence": Case("MT5ForSequenceClassification", GATED | {"eos_token_id": 2}),
    "mt5-span": Case("MT5ForQuestionAnswering", GATED | {"num_labels": 2}),
    "t5-sequence": Case("T5ForSequenceClassification", T5 | {"eos_token_id": 2}),
    "t5-span": Case("T5ForQuestionAnswering", T5 | {"num_labels": 2}),
    "mt5": Case("MT5ForConditionalGeneration", GATED, {"relative_attention_max_distance": 140}),
    "bart": Case("BartForConditionalGeneration", BART, {"scale_embedding": True}),
    "bart-model": Case("BartModel", BART),
    "bart-sequence": Case("BartForSequenceClassification", BART),
    "bart-span": Case("BartForQuestionAnswering", BART),
    "marian": Case("MarianMTModel", MARIAN, {"scale_embedding": False}),
}  # fmt: skip
