"""Mixtral (Jiang et al. 2024, arXiv:2401.04088) and the mixtures of Qwen3 (arXiv:2505.09388).

Mixtral against Mistral: eight feed-forward parts instead of one, of which a router chooses two
for each token; a balancing loss keeps all of them in use. Qwen3-MoE does the same with 128
smaller ones, eight at a time, in Qwen3's block.
"""

from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.decoders import OUT, decoder, decoder_heads
from ownlm.models.family import Architecture, Family, Names, Paper, both, with_stack
from ownlm.models.hf_config import Reader
from ownlm.models.llama import from_hf, gated_width, relative_to_hf
from ownlm.models.llama_names import outer_names
from ownlm.models.windows import read_window, with_windows
from ownlm.nn.config import ExpertsConfig

_MIXTRAL = ("block_sparse_moe", ("w1", "w3"), "w2")
_QWEN = ("mlp", ("gate_proj", "up_proj"), "down_proj")
"""What a layer calls its mixture and an expert's matrices: gate and up, down."""


def _size(family: str, layers: int, dim: int, hidden: int, **values: Any) -> ModelConfig:
    return ModelConfig(
        family=family, layers=layers, dim=dim, hidden=hidden, rope_theta=1e6, tied=False, **values
    )


MIXTRAL_SIZES = {
    "mixtral-8x7b": _size(
        "mixtral", 32, 4096, 14_336, heads=32, kv_heads=8, context=32_768, vocab=32_000
    ),
    "mixtral-8x22b": _size(
        "mixtral", 56, 6144, 16_384, heads=48, kv_heads=8, context=65_536, vocab=32_768
    ),
}
QWEN3_MOE_SIZES = {
    "qwen3-30b-a3b": _size(
        "qwen3-moe", 48, 2048, 768, heads=32, kv_heads=4, head_dim=128, context=40_960,
        vocab=151_936, norm_eps=1e-6,
    ),
}  # fmt: skip


def mixtral_to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new Mixtral: 8 experts, 2 of them for each token, unless told."""
    return relative_to_hf(
        c,
        num_local_experts=c.experts or 8,
        num_experts_per_tok=c.experts_chosen or 2,
        router_aux_loss_coef=0.02,
        sliding_window=c.window or None,
    )


def mixtral_from_hf(h: Reader) -> Architecture:
    """The architecture of a Mixtral config.json."""
    h.require({"router_jitter_noise": (0, 0.0)})
    a = with_stack(from_hf(h, theta=1e6, eps=1e-5), experts=_experts(h, "num_local_experts", 8, 2))
    return with_windows(a, [read_window(h, 0)])


def _experts(
    h: Reader, key: str, count: int, chosen: int, normalised: bool = True
) -> ExpertsConfig:
    experts = ExpertsConfig(
        count=h.integer(key, "heads", count),
        chosen=h.integer("num_experts_per_tok", "heads", chosen),
        normalised=normalised,
        balance=h.number("router_aux_loss_coef", 0, 100, 0.001),
    )
    if experts.chosen > experts.count:
        raise h.fault("num_experts_per_tok", f"{experts.chosen} of {experts.count} experts")
    return experts


def qwen3_moe_to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new Qwen3-MoE: 128 experts, 8 of them for each token, unless told."""
    return relative_to_hf(
        c,
        num_experts=c.experts or 128,
        num_experts_per_tok=c.experts_chosen or 8,
        moe_intermediate_size=c.hidden or gated_width(c.dim),
        norm_topk_prob=True,
        router_aux_loss_coef=0.001,
        decoder_sparse_step=1,
        mlp_only_layers=[],
        use_sliding_window=False,
    )


def qwen3_moe_from_hf(h: Reader) -> Architecture:
    """The architecture of a Qwen3-MoE config.json in which every layer is a mixture."""
    h.require({
        "decoder_sparse_step": (1,), "mlp_only_layers": (None, []), "use_sliding_window": (False,),
    })  # fmt: skip
    normalised = h.flag("norm_topk_prob", False)
    key = "num_local_experts" if h.has("num_local_experts") else "num_experts"
    return with_stack(
        from_hf(h),
        qk_norm="head",
        hidden=h.integer("moe_intermediate_size", "width", 768),
        experts=_experts(h, key, 128, 8, normalised),
    )


def mixtral_names(a: Architecture) -> Names:
    """Tensor names of MixtralForCausalLM."""
    return _names(a, *_MIXTRAL)


def qwen3_moe_names(a: Architecture) -> Names:
    """Tensor names of Qwen3MoeForCausalLM."""
    return _names(a, *_QWEN)


def _names(a: Architecture, mixture: str, gate_up: tuple[str, str], down: str) -> Names:
    """Experts are told one by one on disk; here each matrix holds all of them."""
    t, o, c = "model.layers.#.", "stack.blocks.#.", a.stack
    assert c.experts is not None, "both families mix"
    every = [f"{t}{mixture}.experts.{e}." for e in range(c.experts.count)]
    gate_ups = tuple(e + part for e in every for part in gate_up)
    rows = (
        *outer_names(a),
        *both(f"{t}{mixture}.gate", o + "ffn.body.router", bias=False),
        *both(gate_ups, o + "ffn.body.gate_up", bias=False),
        *both(tuple(e + down for e in every), o + "ffn.body.down", bias=False),
    )
    return Names(rows, "model.")


PAPER = Paper("Mixtral of Experts", "Jiang et al.", 2024, "2401.04088")
MIXTRAL = decoder(
    Family(
        "mixtral", "mixtral", decoder_heads("Mixtral", *OUT), MIXTRAL_SIZES, mixtral_to_hf,
        mixtral_from_hf, mixtral_names, (PAPER,), after="mistral",
    )
)  # fmt: skip
QWEN_PAPER = Paper("Qwen3 Technical Report", "Yang et al.", 2025, "2505.09388")
QWEN3_MOE = decoder(
    Family(
        "qwen3-moe", "qwen3_moe", decoder_heads("Qwen3Moe", *OUT), QWEN3_MOE_SIZES,
        qwen3_moe_to_hf, qwen3_moe_from_hf, qwen3_moe_names, (QWEN_PAPER,), after="qwen3",
    ),
    span_prefix="transformer.",
)  # fmt: skip
