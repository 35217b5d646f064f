"""GPT-1 (Radford et al. 2018): the decoder half of the 2017 Transformer, pretrained on books.

GPT-2 differs from it by the place of the norm: here it follows each residual sum, and none
stands at the end.
"""

from dataclasses import replace
from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.decoders import decoder, decoder_heads
from ownlm.models.family import Architecture, Family, Names, Paper, both, refuse, with_stack
from ownlm.models.gpt import from_hf, plain_to_hf
from ownlm.models.heads import SEQUENCE
from ownlm.models.hf_config import Reader

SIZES = {
    "gpt1-117m": ModelConfig(
        family="gpt1", layers=12, dim=768, heads=12, context=512, vocab=40_478,
        tied=True, bias=True, dropout=0.1,
    ),
}  # fmt: skip
_ACTIVATIONS = {"": "gelu", "gelu_new": "gelu", "relu": "relu", "silu": "silu"}
"""What config.json calls GELU is its tanh form; the exact one is not to be had."""


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new GPT-1, which has biases everywhere."""
    refuse(c, "window", "hidden", "experts")
    if c.act not in _ACTIVATIONS:
        refuse(c, "act")
    values = plain_to_hf(c) | {"afn": _ACTIVATIONS[c.act]}
    return {k: v for k, v in values.items() if k not in ("activation_function", "n_inner", "ownlm")}


def gpt1_from_hf(h: Reader) -> Architecture:
    """The architecture of a GPT-1 config.json."""
    act = h.choice(
        "afn", {"gelu": "gelu_new", "relu": "relu", "silu": "silu", "swish": "silu"}, "gelu"
    )
    known = {"n_positions": 512, "vocab_size": 40_478} | dict(h.values)
    plain = Reader(known | {"activation_function": act, "n_inner": None, "ownlm": None}, h.where)
    a = from_hf(plain)
    return replace(with_stack(a, norm_at="post"), init=replace(a.init, policy="plain"))


def names(a: Architecture) -> Names:
    """Tensor names of OpenAIGPTLMHeadModel; its Conv1D keeps matrices as (in, out)."""
    # fmt: off
    t, o = "transformer.h.#.", "stack.blocks.#."
    rows = (
        *both("transformer.tokens_embed",     "embed.tokens",    bias=False),
        *both("transformer.positions_embed",  "embed.positions", bias=False),
        *both(t + "attn.c_attn",  o + "attn.body.qkv", transpose=True),
        *both(t + "attn.c_proj",  o + "attn.body.o",   transpose=True),
        *both(t + "ln_1",         o + "attn.norm_out"),
        *both(t + "mlp.c_fc",     o + "ffn.body.up",   transpose=True),
        *both(t + "mlp.c_proj",   o + "ffn.body.down", transpose=True),
        *both(t + "ln_2",         o + "ffn.norm_out"),
    )
    # fmt: on
    return Names(rows, "transformer.", (t + "attn.bias",))


PAPER = Paper("Improving Language Understanding by Generative Pre-Training", "Radford et al.",
              2018, place="OpenAI, language-unsupervised")  # fmt: skip
GPT1 = decoder(
    Family(
        "gpt1", "openai-gpt", decoder_heads("OpenAIGPT", SEQUENCE, writes="LMHeadModel"), SIZES,
        to_hf, gpt1_from_hf, names, (PAPER,), after="marian",
    )
)  # fmt: skip
