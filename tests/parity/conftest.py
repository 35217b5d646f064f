"""Reference models of transformers: tiny, random, written to disk once a session."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch

transformers = pytest.importorskip("transformers")

LENGTH = 320
"""Tokens of a parity input: far enough that stretched and slow rotary pairs show."""
LIMIT = 1e-5
"""Largest difference of any number, relative to the largest number."""

SMALL = {"vocab_size": 97, "bos_token_id": 1, "eos_token_id": 2}
GPT2 = SMALL | {"n_positions": 340, "n_embd": 32, "n_layer": 3, "n_head": 4}
LLAMA = SMALL | {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 340,
}
BIASES = {"attention_bias": True, "mlp_bias": True}


def _rope(kind: str, **values: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10_000.0, **values}}


def _rope_with(rope: dict[str, Any], **values: Any) -> dict[str, Any]:
    return {"rope_parameters": rope["rope_parameters"] | values}


LLAMA3 = _rope(
    "llama3",
    factor=8.0,
    low_freq_factor=1.0,
    high_freq_factor=4.0,
    original_max_position_embeddings=64,
)
YARN = _rope("yarn", factor=4.0, original_max_position_embeddings=85)

FAR: dict[str, Any] = {"rope_type": "default", "rope_theta": 10_100.0}
SLIDING = {"use_sliding_window": True, "sliding_window": 48, "max_window_layers": 1}
UPPERMOST = ["full_attention", "full_attention", "sliding_attention"]
WIDE = {"head_dim": 12}
SMOLLM3 = {"num_hidden_layers": 4, "pad_token_id": 0}
GEMMA2 = {
    "query_pre_attn_scalar": 20,
    "sliding_window": 48,
    "attn_logit_softcapping": 2.0,
    "final_logit_softcapping": 30.0,
}


def _near(factor: float) -> dict[str, Any]:
    return {"rope_type": "linear", "rope_theta": 10_000.0, "factor": factor}


GEMMA3 = {
    "query_pre_attn_scalar": 20,
    "sliding_window": 48,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    "rope_parameters": {"full_attention": _near(8.0), "sliding_attention": _near(1.0)},
}


NEOX = SMALL | {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "max_position_embeddings": 340,
}
PHI3 = LLAMA | {"pad_token_id": 0, "sliding_window": 48}
MIXTRAL = {"num_local_experts": 5, "num_experts_per_tok": 2}
QWEN3_MOE = {"num_experts": 5, "num_experts_per_tok": 3, "moe_intermediate_size": 20}


def _longrope(original: int, longest: int, pairs: int = 4) -> dict[str, Any]:
    short, long = ([1.0 + step * pair for pair in range(pairs)] for step in (0.1, 0.7))
    lengths = {
        "original_max_position_embeddings": original,
        "max_position_embeddings": longest,
        "sliding_window": None,
    }
    return lengths | _rope("longrope", short_factor=short, long_factor=long)


class Case(NamedTuple):
    """A reference model, and options of its config.json that must be noticed when changed."""

    model: str
    """Class in transformers."""
    values: dict[str, Any]
    wrong: Mapping[str, Any] = MappingProxyType({})


# One row a variant: what transformers is to build, and what a wrong reading of it would be.
DECODERS: dict[str, Case] = {
    "gpt2": Case(
        "GPT2LMHeadModel",
        GPT2,
        {"layer_norm_epsilon": 0.01, "activation_function": "gelu", "n_head": 8},
    ),
    "gpt2-untied": Case("GPT2LMHeadModel", GPT2 | {"tie_word_embeddings": False}),
    "gpt2-relu-unscaled": Case(
        "GPT2LMHeadModel",
        GPT2 | {"activation_function": "relu", "scale_attn_weights": False, "n_inner": 40},
    ),
    "llama": Case("LlamaForCausalLM", LLAMA, {"rms_norm_eps": 0.01, "hidden_act": "gelu"}),
    "llama-tied": Case("LlamaForCausalLM", LLAMA | {"tie_word_embeddings": True}),
    "llama-biases-wide-heads": Case("LlamaForCausalLM", LLAMA | BIASES | {"head_dim": 16}),
    "llama-one-kv-head": Case("LlamaForCausalLM", LLAMA | {"num_key_value_heads": 1}),
    "llama-linear": Case(
        "LlamaForCausalLM", LLAMA | _rope("linear", factor=4.0), _rope("linear", factor=4.1)
    ),
    "llama-llama3": Case(
        "LlamaForCausalLM", LLAMA | LLAMA3, _rope_with(LLAMA3, high_freq_factor=4.5)
    ),
    "llama-yarn": Case("LlamaForCausalLM", LLAMA | YARN, _rope_with(YARN, beta_slow=1.5)),
    "mistral": Case("MistralForCausalLM", LLAMA | {"sliding_window": 48}, {"sliding_window": 49}),
    "mistral-no-window": Case("MistralForCausalLM", LLAMA | {"sliding_window": None}),
    "qwen2": Case("Qwen2ForCausalLM", LLAMA, {"rms_norm_eps": 0.01, "rope_parameters": FAR}),
    "qwen2-upper-layers-slide": Case(
        "Qwen2ForCausalLM", LLAMA | SLIDING, {"layer_types": UPPERMOST, "sliding_window": 49}
    ),
    "qwen3": Case("Qwen3ForCausalLM", LLAMA | WIDE, {"rms_norm_eps": 0.01}),
    "qwen3-upper-layers-slide-tied": Case(
        "Qwen3ForCausalLM",
        LLAMA | WIDE | SLIDING | {"tie_word_embeddings": True, "attention_bias": True},
        {"layer_types": UPPERMOST},
    ),
    "olmo2": Case("Olmo2ForCausalLM", LLAMA, {"rms_norm_eps": 0.01, "rope_parameters": FAR}),
    "smollm3": Case(
        "SmolLM3ForCausalLM",
        LLAMA | SMOLLM3,
        {"no_rope_layers": [1, 1, 1, 1], "rope_parameters": FAR},
    ),
    "smollm3-slides": Case(
        "SmolLM3ForCausalLM",
        LLAMA | SMOLLM3 | {"use_sliding_window": True, "sliding_window": 48},
        {"sliding_window": 49},
    ),
    "gemma": Case("GemmaForCausalLM", LLAMA | WIDE, {"rms_norm_eps": 0.01}),
    "gemma2": Case(
        "Gemma2ForCausalLM",
        LLAMA | WIDE | GEMMA2,
        {
            "attn_logit_softcapping": 2.1,
            "final_logit_softcapping": 31.0,
            "query_pre_attn_scalar": 21,
            "sliding_window": 49,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
        },
    ),
    "gemma2-no-caps": Case(
        "Gemma2ForCausalLM",
        LLAMA | WIDE | {"attn_logit_softcapping": None, "final_logit_softcapping": None},
    ),
    "gemma3": Case(
        "Gemma3ForCausalLM",
        LLAMA | WIDE | GEMMA3,
        {
            "query_pre_attn_scalar": 21,
            "sliding_window": 49,
            "rope_parameters": {"full_attention": _near(8.1), "sliding_attention": _near(1.0)},
        },
    ),
    "gpt-neox": Case("GPTNeoXForCausalLM", NEOX, {"layer_norm_eps": 0.01, "hidden_act": "relu"}),
    "gpt-neox-in-turn-tied": Case(
        "GPTNeoXForCausalLM",
        NEOX
        | {"use_parallel_residual": False, "tie_word_embeddings": True, "attention_bias": False}
        | _rope("default", partial_rotary_factor=1.0),
        {"use_parallel_residual": True},
    ),
    "gpt1": Case("OpenAIGPTLMHeadModel", GPT2, {"layer_norm_epsilon": 0.01, "afn": "relu"}),
    "phi3": Case("Phi3ForCausalLM", PHI3, {"rms_norm_eps": 0.01, "sliding_window": 49}),
    "phi3-longrope-short": Case(
        "Phi3ForCausalLM",
        PHI3 | _longrope(original=330, longest=660),
        {"max_position_embeddings": 990},
    ),
    "phi3-longrope-long-in-part": Case(
        "Phi3ForCausalLM",
        PHI3 | {"partial_rotary_factor": 0.75} | _longrope(original=50, longest=400, pairs=3),
        {"original_max_position_embeddings": 330},
    ),
    "mixtral": Case(
        "MixtralForCausalLM", LLAMA | MIXTRAL, {"rms_norm_eps": 0.01, "num_experts_per_tok": 1}
    ),
    "qwen3-moe": Case(
        "Qwen3MoeForCausalLM",
        LLAMA | WIDE | QWEN3_MOE | {"norm_topk_prob": True},
        {"norm_topk_prob": False},
    ),
    "qwen3-moe-shares-as-they-are": Case("Qwen3MoeForCausalLM", LLAMA | WIDE | QWEN3_MOE),
    "ctrl": Case("CTRLLMHeadModel", GPT2 | {"dff": 40}, {"n_head": 8}),
}
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
THREE = ("SequenceClassification", "TokenClassification", "QuestionAnswering")
LABELS = {"num_labels": 3, "pad_token_id": 0}


def _heads(stem: str, values: dict[str, Any], *heads: str) -> dict[str, Case]:
    """One row a head of a decoder, and the bare model."""
    rows = {f"{stem}For{head}": Case(f"{stem}For{head}", values | LABELS) for head in heads}
    return {f"{stem}Model": Case(f"{stem}Model", values | {"pad_token_id": 0})} | rows


DECODER_HEADS: dict[str, Case] = {
    **_heads("GPT2", GPT2, *THREE),
    **_heads("OpenAIGPT", GPT2, *THREE[:1]),
    **_heads("CTRL", GPT2 | {"dff": 40}, *THREE[:1]),
    **_heads("GPTNeoX", NEOX, *THREE),
    **_heads("Llama", LLAMA, *THREE),
    **_heads("Mistral", LLAMA | {"sliding_window": 48}, *THREE),
    **_heads("Qwen2", LLAMA, *THREE),
    **_heads("Qwen3", LLAMA | WIDE, *THREE),
    **_heads("SmolLM3", LLAMA | SMOLLM3, *THREE),
    **_heads("Olmo2", LLAMA, *THREE[:1]),
    **_heads("Gemma", LLAMA | WIDE, *THREE[:2]),
    **_heads("Gemma2", LLAMA | WIDE | GEMMA2, *THREE[:2]),
    **_heads("Gemma3Text", LLAMA | WIDE | GEMMA3, *THREE[:1]),
    **_heads("Phi3", PHI3, *THREE[:2]),
    **_heads("Mixtral", LLAMA | MIXTRAL, *THREE),
    **_heads("Qwen3Moe", LLAMA | WIDE | QWEN3_MOE, *THREE),
    "reward": Case("LlamaForSequenceClassification", LLAMA | LABELS | {"num_labels": 1}),
}
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
ENCODERS |= DECODER_HEADS | {
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
CASES: dict[str, Case] = {**DECODERS, **ENCODERS, **PAIRS}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`decoder` runs over all rows of DECODERS, `decoder, wrong` over what must be noticed."""
    for kind, cases in {"decoder": DECODERS, "encoder": ENCODERS, "pair": PAIRS}.items():
        names = metafunc.fixturenames
        if kind in names and "wrong" in names:
            rows = [(name, {k: v}) for name, case in cases.items() for k, v in case.wrong.items()]
            metafunc.parametrize(
                (kind, "wrong"), rows, ids=[f"{n}-{next(iter(w))}" for n, w in rows]
            )
        elif kind in names:
            metafunc.parametrize(kind, cases)


def reference(name: str) -> Any:
    """A random reference model in evaluation mode, its norms and biases random too."""
    case = CASES[name]
    made = getattr(transformers, case.model)
    config = made.config_class(**case.values)
    torch.manual_seed(sum(name.encode()))
    model = made(config)
    around = 0.0 if "Gemma" in case.model else 1.0  # Gemma stores norms around zero
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(around if parameter.ndim == 1 else 0.0, 0.2)
    return model.eval()


@pytest.fixture
def off() -> Callable[[Any], Any]:
    """A function that copies our model, half a matrix of the last layer wrong by a hundredth.

    (A whole one would not show where a norm follows it.)
    """

    def wrong(model: Any) -> Any:
        copied = copy.deepcopy(model)
        with torch.no_grad():
            copied.stack.blocks[-1].ffn.body.down.weight[::2] *= 1.01
        return copied

    return wrong


Tell = Callable[[str, float, float], None]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """A function that puts a row into the table at the end of the run, and checks it."""

    def told(row: str, difference: float, control: float) -> None:
        record_property("parity", (row, difference, control))
        assert difference < LIMIT, row
        assert control > 10 * LIMIT, f"{row}: the control passes"

    return told


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from a case's name to the folder that save_pretrained wrote for it."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            reference(name).save_pretrained(made[name])
        return made[name]

    return folder
