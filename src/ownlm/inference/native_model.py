"""A model as the native decoder reads it: which one it covers, and all of its parts as C++ structs.

Every structure here is one of nn/kernels/decode*, field by field.
"""

import ctypes
from typing import Any

import torch
from torch import Tensor, nn

from ownlm.inference.native_weights import Kind, Packer, Weight, alternating
from ownlm.models.capped import CappedAttention
from ownlm.models.model import PREFIX_LM, Model, SingleStack
from ownlm.nn.attention import SelfAttention
from ownlm.nn.block import Block, ParallelBlock, Sublayer
from ownlm.nn.config import Activation, LayerKind, RopeConfig
from ownlm.nn.feedforward import FeedForward
from ownlm.nn.linear import Linear
from ownlm.nn.norm import RMSNorm
from ownlm.nn.position import rotation
from ownlm.nn.stack import Stack

ACTS: tuple[Activation, ...] = ("relu", "gelu", "gelu_tanh", "silu", "tanh")
"""Their places are the numbers of the C++ side's `Act`."""


class NormRef(ctypes.Structure):
    """`Norm`."""

    _fields_ = (
        ("weight", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
        ("eps", ctypes.c_float),
        ("centred", ctypes.c_int32),
        ("present", ctypes.c_int32),
    )


class Heads(ctypes.Structure):
    """`Heads`."""

    _fields_ = (
        ("q", NormRef),
        ("k", NormRef),
        ("cos", ctypes.c_void_p),
        ("sin", ctypes.c_void_p),
        ("turned", ctypes.c_int64),
        ("window", ctypes.c_int64),
        ("scale", ctypes.c_float),
        ("softcap", ctypes.c_float),
    )


class Layer(ctypes.Structure):
    """`Layer`."""

    _fields_ = (
        *((name, NormRef) for name in ("attn_in", "attn_out", "ffn_in", "ffn_out")),
        ("heads", Heads),
        *((name, Weight) for name in ("qkv", "o", "up", "down")),
    )


class ModelRef(ctypes.Structure):
    """`Model`."""

    _fields_ = (
        *(
            (name, ctypes.c_int64)
            for name in ("layers", "dim", "heads", "kv_heads", "head_dim", "hidden", "vocab")
        ),
        *((name, ctypes.c_int32) for name in ("act", "gated", "parallel", "post", "whole")),
        *((name, ctypes.c_float) for name in ("embed_scale", "head_scale", "softcap")),
        ("tokens", ctypes.c_void_p),
        ("places", ctypes.c_void_p),
        ("tokens_bf16", ctypes.c_int32),
        ("layer", ctypes.POINTER(Layer)),
        ("last", NormRef),
        ("head", Weight),
    )


# ---- what is covered ---------------------------------------------------------------------------


def uncovered(model: Model) -> str:
    """What the native decoder cannot compute of a model; "" when it can compute all of it."""
    a = model.architecture
    if type(model) is not SingleStack or type(model.stack) is not Stack:
        return f"{model.family.name} is no single stack of blocks"
    if model.writer is None:
        return "it does not continue texts"
    reasons = {
        "its feed-forward part is a mixture of experts": a.stack.experts is not None,
        "its attention is biased by distance": a.stack.buckets is not None,
        "its attention follows a sparse pattern": any(k.pattern for k in a.stack.kinds),
        "its rotary positions depend on how long a text becomes": _unsteady(model),
        "its prompt is read both ways": model.config.get(PREFIX_LM) is True,
        "its head transforms hidden states": a.head.transform is not None,
        "it is not on the CPU": model.device.type != "cpu",
    }
    found = next((reason for reason, holds in reasons.items() if holds), "")
    return found or next((why for block in model.stack.blocks if (why := _foreign(block))), "")


def _unsteady(model: Model) -> bool:
    """LongRoPE's two sets of factors, where a text can grow from one into the other."""
    scalings = (kind.rope.scaling for kind in model.architecture.stack.kinds if kind.rope)
    return any(
        s is not None and s.kind == "longrope" and model.context > s.original for s in scalings
    )


def _foreign(block: Any) -> str:
    """A part of a block that is not of the kinds that are covered."""
    if type(block) not in (Block, ParallelBlock) or block.cross is not None:
        return f"it has blocks of another kind ({type(block).__name__})"
    known = (Sublayer, SelfAttention, CappedAttention, FeedForward)
    bodies = (block.attn, block.ffn, block.attn.body, block.ffn.body)
    for part in bodies:
        if type(part) not in known:
            return f"it has a part of another kind ({type(part).__name__})"
    for name, part in block.named_modules():
        if name.endswith(("qkv", ".o", "up", "down")) and type(part) is not Linear:
            return f"its {name} is adapted ({type(part).__name__}): merge the adapter first"
    return ""


# ---- its parts ---------------------------------------------------------------------------------


class Description:
    """A model's parts, packed; `ref` is what the C++ side gets."""

    def __init__(self, model: Model, kind: Kind) -> None:
        self.model, self.kind = model, kind
        stack, head = model.architecture.stack, model.architecture.head
        blocks = list(model.stack.blocks)
        own = model.embed.tokens.weight if model.head.weight is None else model.head.weight
        matrices = [m for b in blocks for m in _matrices(b)]
        sizes = [(m.shape[0] + 32, m.shape[1]) for m in matrices]  # gate and up are each padded
        self.packer = Packer(kind, [*sizes, (own.shape[0], own.shape[1])])
        self.tables: dict[RopeConfig, tuple[int, int, int]] = {}
        layers = (self._layer(b, stack.kind(n)) for n, b in enumerate(blocks))
        self.layers = (Layer * len(blocks))(*layers)
        self.native_embedding = _is_plain(model)
        tokens, places = self._embedding()
        self.ref = ModelRef(
            stack.layers, stack.dim, stack.heads, stack.kv_heads, stack.head_dim, stack.hidden,
            head.vocab, ACTS.index(stack.act), stack.gated, stack.parallel,
            stack.norm_at == "post", stack.qk_norm == "full", model.embed.config.scale, head.scale,
            head.softcap, tokens, places, model.dtype == torch.bfloat16, self.layers,
            self._norm(model.stack.norm), self.packer.weight(own, model.head.bias),
        )  # fmt: skip

    def _embedding(self) -> tuple[int | None, int | None]:
        """Tables of tokens and positions that the C++ side can look up itself."""
        embed = self.model.embed
        if not self.native_embedding:
            return None, None
        tokens = embed.tokens.weight.detach()
        if tokens.dtype != torch.bfloat16:
            tokens = tokens.float()
        table = None if embed.positions is None else embed.positions.weight.detach()
        if table is not None:
            table = table[embed.config.offset :].float().contiguous()
        places = None if table is None else self.packer.hold(table)
        return self.packer.hold(tokens.contiguous()), places

    def _layer(self, block: Any, kind: LayerKind) -> Layer:
        attn, ffn = block.attn.body, block.ffn.body
        up = ffn.gate_up if ffn.gated else ffn.up
        turn = alternating if ffn.gated else lambda rows: rows
        bias = None if up.bias is None else turn(up.bias.detach())
        return Layer(
            self._norm(block.attn.norm_in),
            self._norm(block.attn.norm_out),
            self._norm(block.ffn.norm_in),
            self._norm(block.ffn.norm_out),
            self._heads(attn, kind),
            self.packer.weight(attn.qkv.weight, attn.qkv.bias),
            self.packer.weight(attn.o.weight, attn.o.bias),
            self.packer.weight(turn(up.weight.detach()), bias),
            self.packer.weight(ffn.down.weight, ffn.down.bias),
        )

    def _heads(self, attn: SelfAttention, kind: LayerKind) -> Heads:
        cos, sin, turned = (None, None, 0) if kind.rope is None else self._table(kind.rope)
        softcap = getattr(attn, "softcap", 0.0)
        norms = self._norm(attn.q_norm), self._norm(attn.k_norm)
        return Heads(*norms, cos, sin, turned, kind.window, attn.scale, softcap)

    def _table(self, rope: RopeConfig) -> tuple[int, int, int]:
        """Cosines and sines of all positions, and how many pairs they turn."""
        if rope not in self.tables:
            positions = torch.arange(self.model.context)
            width = self.model.architecture.stack.head_dim
            table = rotation(rope, positions, width, torch.float32)
            cos, sin = (self.packer.hold(part.contiguous()) for part in table)
            self.tables[rope] = cos, sin, table.cos.shape[-1]
        return self.tables[rope]

    def _norm(self, norm: nn.Module) -> NormRef:
        if isinstance(norm, nn.Identity):
            return NormRef()
        assert isinstance(norm, RMSNorm | nn.LayerNorm), "covered models have no other"
        offset, bias = (norm.offset, None) if isinstance(norm, RMSNorm) else (0.0, norm.bias)
        weight = norm.weight.detach().float() + offset
        numbers = self.packer.numbers(weight), self.packer.numbers(bias)
        return NormRef(*numbers, norm.eps, isinstance(norm, nn.LayerNorm), True)


def _matrices(block: Any) -> list[Tensor]:
    attn, ffn = block.attn.body, block.ffn.body
    up = ffn.gate_up if ffn.gated else ffn.up
    return [attn.qkv.weight, attn.o.weight, up.weight, ffn.down.weight]


def _is_plain(model: Model) -> bool:
    """Whether an embedding is tokens, scaled, and perhaps learned positions."""
    e = model.embed.config
    plain = e.positions in ("none", "learned") and e.norm is None and not e.types
    return plain and e.width in (0, e.dim)
