"""One update of each contestant of training.py. Peers are packages (nanoGPT: a checkout) that the
person who measures has installed; each is imported by its own function only.

All make the same model within 2 % of parameters (tied head, dropout 0 unless asked, erf GELU, T5:
ReLU), the same batches and targets, AdamW (fused), clipping at 1.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from shapes import IGNORE, SEED, Shape, Work
from torch import Tensor, nn
from torch.nn import functional as F

Batch = dict[str, Tensor]
Lossy = Callable[[Batch], Tensor]
"""Mean loss of a batch."""


# ---- ownlm ------------------------------------------------------------------------------------


def ownlm_step(work: Work, precision: str, compiled: bool, dropout: float) -> Callable[[], None]:
    """One update as `ownlm pretrain` makes it, batch and corruption included."""
    from ownlm import runtime
    from ownlm.training.config import OptimizerConfig
    from ownlm.training.optimizer import AdamW
    from ownlm.training.precision import Weights
    from ownlm.training.step import Stepper, read

    runtime.settle_memory(4 << 30)
    model = ownlm_model(work.shape, dropout)
    check(model, work.shape)
    model.train()
    weights = Weights(model, precision)
    optimizer = AdamW(weights.master, OptimizerConfig(betas=(0.9, 0.99)))
    stepper = Stepper(
        model, work.objective(), weights, optimizer, seed=1, clip=1.0, compiled=compiled
    )
    examples, number = work.packed(), iter(range(1 << 40))
    return lambda: void(read(stepper.step([next(examples)], next(number), 1e-3)))


def ownlm_model(s: Shape, dropout: float) -> nn.Module:
    from ownlm.models.config import ModelConfig
    from ownlm.models.load import build_any

    family = {"causal": "gpt2", "masked": "bert", "pair": "t5"}[s.kind]
    more: dict[str, Any] = {"causal": {"bias": False, "act": "gelu"},
            "masked": {"bias": True, "act": "gelu", "head": "ForMaskedLM", "norm_eps": 1e-12},
            "pair": {"act": "relu", "norm_eps": 1e-6}}[s.kind]  # fmt: skip
    context = max(512, s.context) if s.kind == "masked" else s.context
    sizes = {"layers": s.layers, "heads": s.heads, "dim": s.dim, "vocab": s.vocab}
    config = ModelConfig(
        family=family, tied=True, context=context, dropout=dropout, **sizes, **more
    )
    return build_any(config, seed=SEED)


def void(_: object) -> None:
    """Nothing."""


# ---- peers ------------------------------------------------------------------------------------


def peer_step(
    name: str, work: Work, precision: str, compiled: bool, dropout: float
) -> Callable[[], None]:
    """One update of a peer in the usual loop; precision: fp32, autocast, or weights (in bf16)."""
    torch.manual_seed(SEED)
    model, loss_of = PEERS[name](work.shape, dropout)
    check(model, work.shape)
    model.train()
    if precision == "weights":
        model.bfloat16()
    optimizer = torch.optim.AdamW(groups(model), lr=1e-3, betas=(0.9, 0.99), fused=True)
    if compiled:
        loss_of = torch.compile(loss_of, dynamic=False)
    batches = work.padded(32 if compiled else 1)

    def step() -> None:
        with mixed(precision):
            loss = loss_of(next(batches))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()

    return step


def mixed(precision: str) -> AbstractContextManager[Any]:
    return torch.autocast("cpu", torch.bfloat16) if precision == "autocast" else nullcontext()


def loss_with(answer: Callable[[Batch], Tensor]) -> Lossy:
    """Mean cross entropy of the targets, in float32, of a model that gives logits (B, T, V)."""

    def loss_of(batch: Batch) -> Tensor:
        logits = answer(batch)
        return F.cross_entropy(logits.flatten(0, 1).float(), batch["targets"].flatten(),
                               ignore_index=IGNORE)  # fmt: skip

    return loss_of


def groups(model: nn.Module) -> list[dict[str, Any]]:
    """Matrices decay, norms and biases do not."""
    live = list(model.parameters())
    return [{"params": [p for p in live if p.dim() >= 2], "weight_decay": 0.1},
            {"params": [p for p in live if p.dim() < 2], "weight_decay": 0.0}]  # fmt: skip


def check(model: nn.Module, s: Shape) -> None:
    """The same model: matrices and token table within 2 %, whatever stands for positions."""
    own = sum(p.numel() for name, p in model.named_parameters() if "pos" not in name)
    wpe = sum(p.numel() for name, p in model.named_parameters() if "wpe" in name)
    share = (own - wpe) / s.parameters
    assert abs(share - 1) < 0.02, f"{own - wpe:,} parameters where {s.parameters:,} are meant"


def nanogpt(s: Shape, dropout: float) -> tuple[nn.Module, Lossy]:
    from model import GPT, GPTConfig  # the checkout, which training.py puts on sys.path

    config = GPTConfig(block_size=s.context, vocab_size=s.vocab, n_layer=s.layers, n_head=s.heads,
                       n_embd=s.dim, bias=False, dropout=dropout)  # fmt: skip
    model = GPT(config)
    return model, lambda batch: model(batch["inputs"], batch["targets"])[1]


def litgpt(s: Shape, dropout: float) -> tuple[nn.Module, Lossy]:
    from litgpt.config import Config
    from litgpt.model import GPT

    config = Config(block_size=s.context, vocab_size=s.vocab, padded_vocab_size=s.vocab,
                    n_layer=s.layers, n_head=s.heads, n_embd=s.dim, bias=False,
                    parallel_residual=False, rotary_percentage=1.0)  # fmt: skip
    model = GPT(config)
    model.lm_head.weight = model.transformer.wte.weight
    return model, loss_with(lambda batch: model(batch["inputs"]))


def x_transformers(s: Shape, dropout: float) -> tuple[nn.Module, Lossy]:
    from x_transformers import Decoder, Encoder, TransformerWrapper

    layers = (Decoder if s.kind == "causal" else Encoder)(
        dim=s.dim, depth=s.layers, heads=s.heads, attn_dim_head=s.dim // s.heads, attn_flash=True,
        attn_dropout=dropout, ff_dropout=dropout)  # fmt: skip
    model = TransformerWrapper(num_tokens=s.vocab, max_seq_len=s.context, tie_embedding=True,
                               attn_layers=layers)  # fmt: skip
    if not s.real:
        return model, loss_with(lambda batch: model(batch["inputs"]))
    return model, loss_with(lambda batch: model(batch["inputs"], mask=batch["mask"] > 0))


class TorchEncoder(nn.Module):
    """torch.nn.TransformerEncoder with a token table that is also its head."""

    def __init__(self, s: Shape, dropout: float) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(s.dim, s.heads, 4 * s.dim, dropout, "gelu",
                                           batch_first=True, norm_first=True)  # fmt: skip
        self.blocks = nn.TransformerEncoder(layer, s.layers, enable_nested_tensor=False)
        self.tokens, self.pos = nn.Embedding(s.vocab, s.dim), nn.Embedding(s.context, s.dim)
        self.norm, self.causal, self.real = nn.LayerNorm(s.dim), s.kind == "causal", s.real
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, batch: Batch) -> Tensor:
        ids = batch["inputs"]
        length = ids.shape[1]
        x = self.tokens(ids) + self.pos.weight[:length]
        seen = nn.Transformer.generate_square_subsequent_mask(length) if self.causal else None
        padding = torch.where(batch["mask"] > 0, 0.0, -torch.inf) if self.real else None
        x = self.blocks(x, mask=seen, is_causal=self.causal, src_key_padding_mask=padding)
        return F.linear(self.norm(x), self.tokens.weight)


def torch_encoder(s: Shape, dropout: float) -> tuple[nn.Module, Lossy]:
    model = TorchEncoder(s, dropout)
    return model, loss_with(model)


def transformers(s: Shape, dropout: float) -> tuple[nn.Module, Lossy]:
    os.environ["HF_HUB_OFFLINE"] = "1"
    make = {"causal": _gpt2, "masked": _bert, "pair": _t5}[s.kind]
    return make(s, dropout)


def _gpt2(s: Shape, dropout: float) -> tuple[nn.Module, Lossy]:
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(n_layer=s.layers, n_head=s.heads, n_embd=s.dim, n_positions=s.context,
                        vocab_size=s.vocab, attn_pdrop=dropout, resid_pdrop=dropout,
                        embd_pdrop=dropout, activation_function="gelu", use_cache=False,
                        attn_implementation="sdpa")  # fmt: skip
    model = GPT2LMHeadModel(config)
    return model, loss_with(lambda batch: model(input_ids=batch["inputs"]).logits)


def _bert(s: Shape, dropout: float) -> tuple[nn.Module, Lossy]:
    from transformers import BertConfig, BertForMaskedLM

    config = BertConfig(num_hidden_layers=s.layers, num_attention_heads=s.heads, hidden_size=s.dim,
                        intermediate_size=4 * s.dim, vocab_size=s.vocab, attn_implementation="sdpa",
                        hidden_dropout_prob=dropout,
                        attention_probs_dropout_prob=dropout)  # fmt: skip
    model = BertForMaskedLM(config)
    if not s.real:
        return model, loss_with(lambda batch: model(input_ids=batch["inputs"]).logits)
    return model, loss_with(
        lambda batch: model(batch["inputs"], attention_mask=batch["mask"]).logits
    )


def _t5(s: Shape, dropout: float) -> tuple[nn.Module, Lossy]:
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(num_layers=s.layers, num_heads=s.heads, d_model=s.dim, d_ff=4 * s.dim,
                      d_kv=s.dim // s.heads, vocab_size=s.vocab, dropout_rate=dropout,
                      use_cache=False)  # fmt: skip
    model = T5ForConditionalGeneration(config)
    return model, loss_with(
        lambda batch: (
            model(input_ids=batch["inputs"], decoder_input_ids=batch["decoder_inputs"]).logits
        )
    )


Peer = Callable[[Shape, float], tuple[nn.Module, Lossy]]
PEERS: dict[str, Peer] = {
    "nanogpt": nanogpt,
    "litgpt": litgpt,
    "transformers": transformers,
    "x_transformers": x_transformers,
    "torch": torch_encoder,
}


def updates(name: str, work: Work, dropout: float, checkout: str) -> Iterator[None]:
    """Endless updates of a contestant named PACKAGE-PRECISION-compiled or -eager."""
    sys.path.insert(0, checkout)
    package, precision, mode = name.split("-")
    if package == "ownlm":
        step = ownlm_step(work, precision, mode == "compiled", dropout)
    else:
        step = peer_step(package, work, precision, mode == "compiled", dropout)
    while True:
        step()
        yield
