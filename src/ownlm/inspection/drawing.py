"""A model drawn in plain text, made from its architecture: one layer, what is around it.

tokens                     ids come in at the top
╭─┤  ...  ╰─⊕              a residual branch: it leaves the stream and is added to it
"""

from itertools import zip_longest

from ownlm.inspection.traits import ACTS, NORMS, traits
from ownlm.models.model import Model
from ownlm.nn.config import EmbedConfig, StackConfig


def draw(model: Model) -> str:
    """Some twenty lines; an encoder stands to the left of the decoder that reads it."""
    a = model.architecture
    told = traits(model)
    ends = [told["output"]] if a.head.vocab else []
    ends += [f"classes: {told['classes']}"] if "classes" in told else []
    column = _column("tokens", a.embed, a.stack, told)
    column += [line for end in ends for line in ("  │", f"  {end}")]
    if a.encoder is None or a.source is None:
        return "\n".join(column)
    left = _column("tokens to read", a.source, a.encoder, told)
    column[0] = "tokens written"
    return "\n".join(_beside(left, column))


def _column(title: str, embed: EmbedConfig, stack: StackConfig, told: dict[str, str]) -> list[str]:
    positions = embed.positions if embed.positions != "none" else ""
    entry = [
        f"token vectors of {embed.width or embed.dim}",
        positions and f"+ {positions} positions",
    ]
    entry += ["+ type of sentence"] * (embed.types > 1)
    entry += [_norm(stack)] * bool(embed.norm)
    last = [] if stack.norm_at == "post" else ["  │", f"  {_norm(stack)}"]
    return [
        title,
        "  │",
        *(f"  {text}" for text in entry if text),
        "  │",
        *_braced(_layer(stack, told), stack.layers),
        *last,
    ]


def _layer(stack: StackConfig, told: dict[str, str]) -> list[str]:
    if not stack.heads:
        inner = f" → {stack.hidden}" if stack.hidden != stack.dim else ""
        return ["  LSTM", f"    {stack.dim}{inner} → {stack.dim}, gates and a cell"]
    attention = ["attention", *_attention(stack, told)]
    ffn = [_feed_forward(stack)]
    if stack.parallel:
        norm = _norm(stack)
        return ["╭─┤", f"│ ├ {norm}, attention", *(f"│ │ {text.strip()}" for text in attention[1:]),
                f"│ ╰ {norm}, {ffn[0]}", "╰─⊕"]  # fmt: skip
    branches = [attention, *([["attention to the encoder"]] if stack.cross else []), ffn]
    return [line for body in branches for line in _branch(stack, body)]


def _branch(stack: StackConfig, body: list[str]) -> list[str]:
    """A residual branch with its norms where they stand."""
    norm = _norm(stack)
    before = [norm] * (stack.norm_at in ("pre", "both"))
    after = [norm] * (stack.norm_at in ("both", "branch"))
    last = [f"  {norm}"] * (stack.norm_at == "post")
    return ["╭─┤", *(f"│ {text}" for text in (*before, *body, *after)), "╰─⊕", *last]


def _attention(stack: StackConfig, told: dict[str, str]) -> list[str]:
    grouped = f", {stack.kv_heads} for keys and values" if stack.kv_heads != stack.heads else ""
    lines = [f"{stack.heads} heads of {stack.head_dim}{grouped}"]
    direction = "looks back" if stack.causal else "looks both ways"
    lines += [f"{direction}: {text}" for text in told["a token sees"].split("; ")]
    if told["positions"].startswith(("rotary", "relative", "none")):
        lines += told["positions"].split("; ")
    lines += [f"{trait} {told[trait]}" for trait in ("queries and keys", "scores") if trait in told]
    return [f"  {line}" for line in lines]


def _feed_forward(stack: StackConfig) -> str:
    act = f"gated by {ACTS[stack.act]}" if stack.gated else ACTS[stack.act]
    widths = f"{stack.dim} → {stack.hidden} → {stack.dim}"
    if stack.experts is None:
        return f"feed-forward {widths}, {act}"
    return f"{stack.experts.chosen} of {stack.experts.count} experts {widths}, {act}"


def _norm(stack: StackConfig) -> str:
    return NORMS[stack.norm].partition(",")[0]


def _braced(lines: list[str], count: int) -> list[str]:
    """A brace on the right that tells how often the lines come."""
    width = max(map(len, lines)) + 2
    middle = len(lines) // 2
    ends = {0: "╮", len(lines) - 1: "╯", middle: f"├ {count} layers"}
    return [f"{line:<{width}}{ends.get(i, '│')}" for i, line in enumerate(lines)]


def _beside(left: list[str], right: list[str]) -> list[str]:
    width = max(map(len, left)) + 4
    return [f"{a:<{width}}{b}".rstrip() for a, b in zip_longest(left, right, fillvalue="")]
