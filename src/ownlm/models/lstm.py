"""A language model of long short-term memory (Zaremba et al. 2014, arXiv:1409.2329).

What the field compares Transformers against: the past is a state of fixed size, read and
rewritten token after token. Dropout stands between layers only (section 3.1 there); with
`tied` the token table is the output matrix (Press & Wolf 2017, arXiv:1608.05859; Inan et al.
2017, arXiv:1611.01462), and inner layers may be wider than it (AWD-LSTM, Merity et al. 2017,
arXiv:1708.02182, whose dropped recurrent weights are left out).
"""

from typing import Any

from ownlm.models.config import ModelConfig
from ownlm.models.decoders import decoder
from ownlm.models.family import Architecture, Family, Names, Paper, Row, both, refuse
from ownlm.models.hf_config import Reader
from ownlm.nn.config import EmbedConfig, HeadConfig, InitConfig, LayerKind, StackConfig


def _size(layers: int, dim: int, dropout: float, hidden: int = 0, **values: Any) -> ModelConfig:
    return ModelConfig(
        family="lstm", layers=layers, dim=dim, hidden=hidden, heads=1, dropout=dropout,
        **({"vocab": 10_000, "context": 35, "tied": False, "bias": True} | values),
    )  # fmt: skip


SIZES = {
    "lstm-ptb-medium": _size(2, 650, 0.5),
    "lstm-ptb-large": _size(2, 1500, 0.65),
    "lstm-awd": _size(3, 400, 0.4, hidden=1150, context=70, tied=True),
}


def to_hf(c: ModelConfig) -> dict[str, Any]:
    """config.json of a new LSTM; heads and activations of a recipe mean nothing here."""
    refuse(c, "head_dim", "window", "experts", "pattern")
    return {
        "vocab_size": c.vocab,
        "n_positions": c.context,
        "embedding_size": c.dim,
        "hidden_size": c.hidden or c.dim,
        "num_layers": c.layers,
        "dropout": c.dropout,
        "bias": c.bias,
        "tie_word_embeddings": c.tied,
        "initializer_factor": 1.0,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def from_hf(h: Reader) -> Architecture:
    """The architecture of such a config.json."""
    vocab, dim = h.integer("vocab_size", "vocabulary"), h.integer("embedding_size", "width")
    dropout, bias = h.number("dropout", 0, 1, 0.0), h.flag("bias", True)
    return Architecture(
        embed=EmbedConfig(vocab=vocab, dim=dim, dropout=dropout),
        stack=StackConfig(
            layers=h.integer("num_layers", "layers"),
            dim=dim,
            heads=0,
            kv_heads=1,  # with a window of 1: two vectors a layer are kept, output and cell
            head_dim=dim,
            kinds=(LayerKind(window=1),),
            hidden=h.integer("hidden_size", "width", dim),
            causal=True,
            norm="layer",
            norm_at="post",
            act="tanh",
            gated=True,
            bias_qkv=bias,
            dropout=dropout,
        ),
        head=HeadConfig(vocab=vocab, dim=dim, tied=h.flag("tie_word_embeddings", True), bias=bias),
        context=h.integer("n_positions", "positions"),
        init=InitConfig(policy="recurrent", std=h.number("initializer_factor", 0, 10, 1.0)),
    )


def names(a: Architecture) -> Names:
    """Tensor names as in PyTorch's word language model: encoder, rnn, decoder."""
    kinds = ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if a.stack.bias_qkv else ()))
    rows = (
        *both("encoder", "embed.tokens", bias=False),
        *(Row((f"rnn.{kind}_l#",), f"stack.cells.#.{kind}_l0") for kind in kinds),
    )
    return Names(rows)


def make(a: Architecture, family: Family, config: dict[str, Any]) -> Any:
    """The model: a stack of LSTM layers between the usual embedding and head."""
    from ownlm.models.model import SingleStack
    from ownlm.nn.recurrent import RecurrentStack

    return SingleStack(a, family, config, RecurrentStack(a.stack))


PAPERS = (
    Paper("Recurrent Neural Network Regularization", "Zaremba et al.", 2014, "1409.2329"),
    Paper("Long Short-Term Memory", "Hochreiter & Schmidhuber", 1997,
          place="Neural Computation 9(8)"),
)  # fmt: skip
LSTM = decoder(
    Family(
        "lstm", "lstm", {"LMHeadModel": "LSTMLMHeadModel"}, SIZES, to_hf, from_hf, names, PAPERS,
        make=make,
    ),
    vocabulary="decoder",
)  # fmt: skip
