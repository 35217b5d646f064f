"""What sets an architecture apart, in words that are made from it, and against its forebear.

Each trait is read off the configuration or off the modules; nothing here is told by hand, so
that nothing can be out of date.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from math import isclose
from typing import Any, NamedTuple

from torch import nn

from ownlm.inspection.architecture import sketch
from ownlm.models.families import FAMILIES
from ownlm.models.family import Family, Paper
from ownlm.models.load import hf_values
from ownlm.models.model import Model
from ownlm.nn.config import LayerKind, PatternConfig, RopeConfig, StackConfig
from ownlm.nn.segments import RelativeStack
from ownlm.nn.streams import TwoStreamStack

NORMS = {
    "rms": "RMSNorm", "rms_offset": "RMSNorm, weights stored around zero",
    "layer": "LayerNorm", "layer_no_bias": "LayerNorm without bias",
}  # fmt: skip
PLACES = {
    "pre": "before each branch", "post": "after each sum",
    "both": "before and after each branch", "branch": "after each branch",
}  # fmt: skip
ACTS = {"relu": "ReLU", "gelu": "GELU", "gelu_tanh": "tanh-GELU", "silu": "SiLU", "tanh": "tanh"}


class Difference(NamedTuple):
    """One trait of a model and of what it is compared with; empty where there is none such."""

    trait: str
    here: str
    before: str


@dataclass(frozen=True)
class Lineage:
    """Where a model's family comes from."""

    papers: tuple[Paper, ...]
    after: str
    """The family before it; empty for the first."""
    compared: str
    """The size of that family which the differences are from."""
    differences: tuple[Difference, ...]
    traits: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "papers": [asdict(paper) for paper in self.papers],
            "after": self.after,
            "compared": self.compared,
            "differences": [difference._asdict() for difference in self.differences],
            "traits": self.traits,
        }


def lineage(model: Model) -> Lineage:
    """The papers of a model's family and what differs from the family before it."""
    family, ours = model.family, traits(model)
    if not family.after:
        return Lineage(family.papers, "", "", (), ours)
    before = FAMILIES[family.after]
    theirs = traits(typical_model(before))
    pairs = (Difference(t, ours.get(t, ""), theirs.get(t, "")) for t in TRAITS)
    found = tuple(pair for pair in pairs if pair.here != pair.before)
    return Lineage(family.papers, before.name, before.typical_name, found, ours)


def typical_model(family: Family) -> Model:
    """The size that stands for a family, without storage."""
    return sketch(hf_values(family.typical))


def traits(model: Model) -> dict[str, str]:
    """The traits that a model has, in the order of TRAITS."""
    told = {trait: tell(model) for trait, tell in TRAITS.items()}
    return {trait: text for trait, text in told.items() if text}


def _kind(model: Model) -> str:
    if model.architecture.encoder is not None:
        return "an encoder, and a decoder that reads it"
    kind = "decoder" if model.architecture.stack.causal else "encoder"
    if _recurrent(model):
        return f"recurrent {kind}"
    return f"{kind} of two streams" if isinstance(model.stack, TwoStreamStack) else kind


def _recurrent(model: Model) -> bool:
    return not model.architecture.stack.heads


def _if_attends(tell: Callable[[Model], str]) -> Callable[[Model], str]:
    """Tells nothing of a model without attention."""
    return lambda model: "" if _recurrent(model) else tell(model)


def _positions(model: Model) -> str:
    embed, stack = model.architecture.embed, model.architecture.stack
    if embed.positions != "none":
        behind = f", from row {embed.offset} of their table" if embed.offset else ""
        return f"{embed.positions}{behind}"
    if isinstance(model.stack, RelativeStack):
        return "relative, the scores see distances as sinusoids"
    if stack.buckets:
        return f"relative, a learned number for each of {stack.buckets[0]} distances"
    return _each_kind(stack, lambda kind: _rotary(kind.rope)) or "none"


def _rotary(rope: RopeConfig | None) -> str:
    if rope is None:
        return "none"
    part = "" if rope.share == 1 else f" on {rope.share:.0%} of each head"
    stretch = f", stretched ({rope.scaling.kind})" if rope.scaling else ""
    return f"rotary{part}, base {rope.theta:,.0f}{stretch}"


def _sight(model: Model) -> str:
    stack = model.architecture.stack

    def sees(kind: LayerKind) -> str:
        if kind.pattern:
            return f"a pattern, {_pattern(kind.pattern)}"
        if not kind.window:
            return "all tokens"
        near = f"the last {kind.window:,} tokens"
        return near if stack.causal else f"{kind.window - 1:,} tokens to each side"

    if _recurrent(model):
        return "what a state of fixed size keeps of all before"
    behind = isinstance(model.stack, RelativeStack)
    return _each_kind(stack, sees) + ", and a memory of the segment before" * behind


def _pattern(pattern: PatternConfig) -> str:
    """The fields that are set."""
    usual = PatternConfig()
    told = (f"{f.name} {getattr(pattern, f.name)}" for f in fields(pattern)
            if getattr(pattern, f.name) != getattr(usual, f.name) and f.name != "seed")  # fmt: skip
    return ", ".join(told)


def _each_kind(stack: StackConfig, tell: Callable[[LayerKind], str]) -> str:
    """One text for all layers, or each text with the share of layers that it speaks of."""
    texts = [tell(stack.kind(layer)) for layer in range(stack.layers)]
    each = dict.fromkeys(texts)
    if len(each) == 1:
        return texts[0]
    return "; ".join(f"{text} in {texts.count(text)} of {stack.layers} layers" for text in each)


def _norms(model: Model) -> str:
    stack = model.architecture.stack
    first = model.stack.get_submodule("blocks.0.attn.norm_in")
    bare = stack.norm_at == "pre" and isinstance(first, nn.Identity)
    missing = ", but the first attention has none" if bare else ""
    return f"{NORMS[stack.norm]} {PLACES[stack.norm_at]}{missing}"


def _scores(model: Model) -> str:
    stack = model.architecture.stack
    cap = getattr(model.stack.get_submodule("blocks.0.attn.body"), "softcap", 0.0)
    usual = stack.scale is None or isclose(stack.scale, stack.head_dim**-0.5)
    scale = "" if usual else f"times {stack.scale:.4g}" if stack.scale != 1 else "not divided"
    return ", ".join(text for text in (scale, f"capped at {cap:g} by tanh" if cap else "") if text)


def _queries_keys(model: Model) -> str:
    places = {"head": "normalised head by head", "full": "normalised over the whole width", "": ""}
    return places[model.architecture.stack.qk_norm]


def _keys_values(model: Model) -> str:
    stack = model.architecture.stack
    if stack.kv_heads == stack.heads:
        return "one head for each query head"
    return "one head for all" if stack.kv_heads == 1 else "a head for several query heads"


def _head_width(model: Model) -> str:
    stack = model.architecture.stack
    return "" if stack.heads * stack.head_dim == stack.dim else f"{stack.head_dim}, not dim / heads"


def _feed_forward(model: Model) -> str:
    stack = model.architecture.stack
    act = f"gated by {ACTS[stack.act]}" if stack.gated else ACTS[stack.act]
    if stack.experts:
        return f"{act}; {stack.experts.count} experts, {stack.experts.chosen} for each token"
    return f"{act}, beside attention" if stack.parallel else act


def _biases(model: Model) -> str:
    stack = model.architecture.stack
    if _recurrent(model):
        return "everywhere" if stack.bias_qkv else "none"
    places = {
        "queries, keys and values": stack.bias_qkv,
        "attention's output": stack.bias_out,
        "feed-forward": stack.bias_ffn,
    }
    if all(places.values()):
        return "everywhere"
    return "; ".join(place for place, there in places.items() if there) or "none"


def _token_vectors(model: Model) -> str:
    embed = model.architecture.embed
    texts = []
    if embed.scale != 1:
        root = isclose(embed.scale, embed.dim**0.5)
        texts.append("times the root of the width" if root else f"times {embed.scale:.4g}")
    if embed.width and embed.width != embed.dim:
        texts.append(f"{embed.width} wide, then projected")
    if embed.norm:
        texts.append("normalised")
    if embed.types > 1:
        texts.append(f"{embed.types} types of sentence")
    return ", ".join(texts) or "as they are"


def _output(model: Model) -> str:
    head = model.architecture.head
    if not head.vocab:
        return "no vocabulary"
    texts = ["the token table" if head.tied else "a matrix of its own"]
    texts += ["with a bias"] * head.bias
    texts += ["after dense, activation and norm"] * (head.transform is not None)
    texts += ["hidden states divided by the root of the width"] * (head.scale != 1)
    texts += [f"logits capped at {head.softcap:g} by tanh"] * bool(head.softcap)
    return ", ".join(texts)


def _classes(model: Model) -> str:
    task = model.architecture.task
    if task is None or not task.outputs:
        return ""
    places = {"token": "of each token", "mean": "off the mean of all tokens"}
    places |= {end: f"off the {end} token" for end in ("first", "last")}
    return f"{task.outputs} {places[task.pool]}"


def _new_weights(model: Model) -> str:
    return {
        "scaled": "normal, branches into the stream smaller the deeper the stack",
        "plain": "normal, all alike",
        "unscaled": "normal, by the number of inputs",
        "recurrent": "normal, by the number of inputs, gates that forget nothing",
    }[model.architecture.init.policy]


TRAITS: dict[str, Callable[[Model], str]] = {
    "shape": _kind,
    "positions": _positions,
    "a token sees": _sight,
    "norm": _if_attends(_norms),
    "queries and keys": _if_attends(_queries_keys),
    "keys and values": _if_attends(_keys_values),
    "width of a head": _if_attends(_head_width),
    "scores": _if_attends(_scores),
    "feed-forward": _if_attends(_feed_forward),
    "biases": _biases,
    "token vectors": _token_vectors,
    "output": _output,
    "classes": _classes,
    "new weights": _new_weights,
}
"""What is told of a model, and what tells it; an empty text says that there is no such thing."""
