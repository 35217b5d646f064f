"""Tensor names in LLaMA's style, which most decoders since have kept."""

from ownlm.models.family import Architecture, Names, Row, both


def names(a: Architecture) -> Names:
    """Tensor names of LlamaModel and of relatives that norm elsewhere too."""
    # fmt: off
    t, o, c = "model.layers.#.", "stack.blocks.#.", a.stack
    gates = tuple(f"{t}mlp.{p}_proj" for p in ("gate", "up"))
    rows = (
        *outer_names(a),
        *both(gates,                           o + "ffn.body.gate_up", bias=c.bias_ffn),
        *both(t + "mlp.down_proj",             o + "ffn.body.down", bias=c.bias_ffn),
    )
    # fmt: on
    return Names(rows, "model.", (t + "self_attn.rotary_emb.inv_freq",))


def outer_names(a: Architecture) -> tuple[Row, ...]:
    """All but the feed-forward part: the token table, attention, norms."""
    # fmt: off
    t, o, c = "model.layers.#.", "stack.blocks.#.", a.stack
    heads = tuple(f"{t}self_attn.{p}_proj" for p in "qkv")
    return (
        *both("model.embed_tokens",            "embed.tokens",      bias=False),
        *both(heads,                           o + "attn.body.qkv", bias=c.bias_qkv, sizes=c.qkv),
        *both(t + "self_attn.o_proj",          o + "attn.body.o",   bias=c.bias_out),
        *norm_names(a),
    )
    # fmt: on


# fmt: off
_NORMS = {
    "pre":    ("input_layernorm", "",                         "post_attention_layernorm",  ""),
    "both":   ("input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
               "post_feedforward_layernorm"),
    "branch": ("",                "post_attention_layernorm", "", "post_feedforward_layernorm"),
}
# fmt: on


def norm_names(a: Architecture) -> tuple[Row, ...]:
    """Names of a layer's norms (before and after attention, then feed-forward; queries, keys)
    and of the last one."""
    t, o = "model.layers.#.", "stack.blocks.#."
    ours = ("attn.norm_in", "attn.norm_out", "ffn.norm_in", "ffn.norm_out")
    pairs = list(zip(_NORMS[a.stack.norm_at], ours, strict=True))
    if a.stack.qk_norm:
        pairs += [(f"self_attn.{p}_norm", f"attn.body.{p}_norm") for p in "qk"]
    layers = [
        row for theirs, our in pairs if theirs for row in both(t + theirs, o + our, bias=False)
    ]
    return (*layers, *both("model.norm", "stack.norm", bias=False))
