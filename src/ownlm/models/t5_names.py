"""Tensor names of T5: both sides, or the encoder alone."""

from ownlm.models.family import Architecture, Names, Row, both
from ownlm.models.heads import SEQUENCE, TOKEN, task_rows


def names(a: Architecture) -> Names:
    """Tensor names of T5ForConditionalGeneration and of the other heads."""
    base = "transformer." if a.form in (SEQUENCE, TOKEN) else ""
    rows = both(base + "shared", "embed.tokens", bias=False)
    if a.encoder is None:
        rows += _stack(a, base + "encoder.", "stack.", "1")
    else:
        rows += _stack(a, base + "encoder.", "encoder.", "1")
        rows += _stack(a, base + "decoder.", "stack.", "2")
        rows += _cross(a, base + "decoder.block.#.layer.1.")
    if not a.head.tied:
        rows += both("lm_head", "head", bias=False)
    outs = {SEQUENCE: "classification_head.out_proj", TOKEN: "classifier"}
    rows += task_rows(a.task, "classification_head.dense", outs.get(a.form, "qa_outputs"))
    written_twice = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    unused = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    ignored = (*(base + name for name in written_twice), base + unused)
    return Names(rows, base, ignored, copies=(("lm_head.weight", base + "shared.weight"),))


def _stack(a: Architecture, theirs: str, ours: str, last: str) -> tuple[Row, ...]:
    """One side; `last` is the number of the feed-forward part in a layer."""
    # fmt: off
    t, o, qkv = theirs + "block.#.layer.", ours + "blocks.#.", a.stack.qkv
    first, ffn = t + "0.SelfAttention.", f"{t}{last}.DenseReluDense."
    up: tuple[Row, ...] = both(ffn + "wi", o + "ffn.body.up", bias=False)
    if a.stack.gated:
        up = both((ffn + "wi_0", ffn + "wi_1"), o + "ffn.body.gate_up", bias=False)
    return (
        *both(tuple(first + p for p in "qkv"), o + "attn.body.qkv", bias=False, sizes=qkv),
        *both(first + "o",                     o + "attn.body.o",   bias=False),
        *both(t + "0.layer_norm",              o + "attn.norm_in",  bias=False),
        *up,
        *both(ffn + "wo",                      o + "ffn.body.down", bias=False),
        *both(f"{t}{last}.layer_norm",         o + "ffn.norm_in",   bias=False),
        *both(theirs + "final_layer_norm",     ours + "norm",       bias=False),
        *both(theirs + "block.0.layer.0.SelfAttention.relative_attention_bias",
              ours + "relative", bias=False),
    )
    # fmt: on


def _cross(a: Architecture, t: str) -> tuple[Row, ...]:
    """The decoder's attention to the encoder, below `t`."""
    o, pair = "stack.blocks.#.cross.", tuple(f"{t}EncDecAttention.{p}" for p in "kv")
    return (
        *both(t + "layer_norm", o + "norm_in", bias=False),
        *both(t + "EncDecAttention.q", o + "body.q", bias=False),
        *both(pair, o + "body.kv", bias=False, sizes=a.stack.qkv[1:]),
        *both(t + "EncDecAttention.o", o + "body.o", bias=False),
    )
