"""Tensor names of ModernBERT."""

from ownlm.models.family import Architecture, Names, both
from ownlm.models.heads import task_rows


def names(a: Architecture) -> Names:
    """Tensor names of ModernBertForMaskedLM and of the other heads."""
    # fmt: off
    base, s = "" if a.form == "Model" else "model.", a.stack
    t, o, bias = base + "layers.#.", "stack.blocks.#.", a.stack.norm == "layer"
    rows = (
        *both(base + "embeddings.tok_embeddings", "embed.tokens",        bias=False),
        *both(base + "embeddings.norm",           "embed.norm",          bias=bias),
        *both(t + "attn.Wqkv",                    o + "attn.body.qkv",   bias=s.bias_qkv),
        *both(t + "attn.Wo",                      o + "attn.body.o",     bias=s.bias_out),
        *both(t + "mlp_norm",                     o + "ffn.norm_in",     bias=bias),
        *both(t + "mlp.Wi",                       o + "ffn.body.gate_up", bias=s.bias_ffn),
        *both(t + "mlp.Wo",                       o + "ffn.body.down",   bias=s.bias_ffn),
        *both(base + "final_norm",                "stack.norm",          bias=bias),
    )
    # fmt: on
    if s.layers > 1:  # the first has none
        rows += both(t + "attn_norm", o + "attn.norm_in", bias=bias)
    if a.head.vocab:
        rows += both("head.dense", "head.dense", bias=a.head.transform_bias)
        rows += both("head.norm", "head.norm", bias=bias)
        rows += both("decoder", "head")[1:] if a.head.bias else ()
    rows += task_rows(a.task, "head.dense", "classifier", norm="head.norm")
    return Names(rows, "model.", ("decoder.*", "head.*"))
