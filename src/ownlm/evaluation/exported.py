"""An exported model against the one that it was made of: logits, tokens, template, ends.

The checks take both sides as they are, so that a file with a broken part can be given to them
and must be found. Logits count from the mean of their position, which no probability feels:
GPT-2's are all near -100, so that a fault of several hundredths would hide behind that.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ownlm.errors import DataError
from ownlm.evaluation.finding import Finding, at_most, not_applicable
from ownlm.evaluation.with_llama_cpp import Asked, Told, ask_llama_cpp
from ownlm.inference.language_model import LM
from ownlm.inference.language_model import load as load_lm
from ownlm.models.family import Architecture
from ownlm.tokenization.from_gguf import WORDS, from_gguf
from ownlm.tokenization.to_gguf import MARKS, NEAREST, PROBES, to_gguf

LIMITS = {"F32": 1e-4, "F16": 5e-3, "Q8_0": 0.1}
"""Largest difference of a logit as a share of the largest logit. Faults looked for (a tensor
permuted, a norm left out) give 0.3 and more."""
AGREED = 0.99
"""Least share of clear positions with the same likeliest token."""
READ = 192
"""Tokens that both sides read."""
TALK = (
    {"role": "user", "content": "What is 2 + 2? <|im_end|>"},
    {"role": "assistant", "content": "4."},
    {"role": "user", "content": "Danke! 再见"},
)

Logits = NDArray[np.float32]


def check_gguf(lm: LM, path: Path, numbers: str) -> list[Finding]:
    """A GGUF file as our own reader opens it, and as llama.cpp does where that is installed."""
    again = load_lm(path, device="cpu", dtype="fp32")
    ids = sample_ids(lm)
    expected = logits_of(lm, ids)
    found = [
        check_architecture(lm.model.architecture, again.model.architecture),
        *check_logits(logits_of(again, ids), expected, numbers, f"{len(ids)} tokens"),
        check_tokens(lm, again),
        check_words(lm),
        check_template(lm, again),
        check_ends(lm, again),
    ]
    return [*found, *check_llama_cpp(lm, path, ids, expected, numbers)]


def sample_ids(lm: LM) -> list[int]:
    """The tokens of texts, then any tokens, as many as are read."""
    size = lm.tokenizer.vocab_size
    drawn = np.random.default_rng(0).integers(0, size, READ).tolist()
    texts = [id for text in PROBES for id in lm.tokenizer.encode(text)]
    return [*texts[: READ // 2], *drawn][: min(READ, lm.model.context)]


@torch.no_grad()
def logits_of(lm: LM, ids: Sequence[int]) -> Logits:
    """Logits (T, V) of one pass."""
    row = torch.tensor([list(ids)], device=lm.model.device)
    logits: Logits = lm.require_writer()(row).logits[0].float().cpu().numpy()
    return logits


def check_logits(found: Logits, expected: Logits, numbers: str, read: str) -> list[Finding]:
    """Two rows: how far the largest difference is, and how often the likeliest token is the
    same, where it leads by more than rounding may move it. Rows of the vocabulary that only one
    side has are left out."""
    limit = LIMITS[numbers]
    unit = f"largest difference / largest logit, {read}"
    if len(found) != len(expected) or not np.isfinite(found).all():
        return [Finding("logits", None, limit, unit, False, "of other shape, or not finite")]
    size = min(found.shape[-1], expected.shape[-1])
    a, b = (x[:, :size] - x[:, :size].mean(-1, keepdims=True) for x in (found, expected))
    largest = float(np.abs(b).max()) or 1.0
    logits = at_most("logits", float(np.abs(a - b).max()) / largest, limit, unit, numbers)
    return [logits, _likeliest(a, b, limit * largest)]


def _likeliest(found: Logits, expected: Logits, margin: float) -> Finding:
    """How often the likeliest token is the same where it leads by more than `margin`."""
    name, same = "likeliest token", found.argmax(-1) == expected.argmax(-1)
    second, first = np.partition(expected, -2, axis=-1)[:, -2:].T
    clear = first - second > margin
    detail = f"{float(same.mean()):.3f} of all {len(same)}"
    if not clear.any():
        return not_applicable(name, f"the model is clear nowhere; the same in {detail}")
    share = float(same[clear].mean())
    unit = f"share of {int(clear.sum())} positions where the model is clear, at least"
    return Finding(name, share, AGREED, unit, share >= AGREED, detail)


def check_architecture(expected: Architecture, found: Architecture) -> Finding:
    """What both are made of: windows and caps may lie beyond the tokens that are compared."""
    one, other = _parts(expected), _parts(found)
    unlike = [f"{key}: {other.get(key)!r:.60}, not {one[key]!r:.60}"
              for key in one if one[key] != other.get(key)]  # fmt: skip
    name, unit = "architecture", "parts that differ"
    return at_most(name, len(unlike), 0, unit, "; ".join(unlike) or f"{len(one)} agree")


def _parts(a: Architecture) -> dict[str, Any]:
    """What decides logits; biases that are zero and windows beyond the context decide none."""
    s, e, h = a.stack, a.embed, a.head
    norm = "layer" if s.norm == "layer_no_bias" else s.norm
    kinds = [s.kind(layer) for layer in range(s.layers)]
    return {
        "layers": s.layers, "width": s.dim, "heads": (s.heads, s.kv_heads, s.head_dim),
        "hidden": s.hidden, "norm": (norm, s.norm_at, s.norm_eps, s.qk_norm),
        "activation": (s.act, s.gated), "scale": s.scale or s.head_dim**-0.5,
        "vocabulary": e.vocab, "positions": (e.positions, e.max_len, e.offset, e.scale),
        "cap": (h.softcap, h.scale), "context": a.context,
        "rotary": [kind.rope for kind in kinds],
        "windows": [kind.window if kind.window < a.context else 0 for kind in kinds],
        "others": (s.causal, s.experts, s.parallel, s.buckets, [kind.pattern for kind in kinds]),
    }  # fmt: skip


def check_tokens(lm: LM, again: LM) -> Finding:
    """The ids of texts in many scripts, and the texts back from them."""
    texts = [*PROBES, MARKS, "<|endoftext|></s><|im_end|>"]
    unlike = [
        text
        for text in texts
        if (ids := again.tokenizer.encode(text)) != lm.tokenizer.encode(text)
        or again.tokenizer.decode(ids) != lm.tokenizer.decode(ids)
    ]
    detail = "; ".join(f"{text!r:.60}" for text in unlike) or f"{len(texts)} texts"
    return at_most("tokens", len(unlike), 0, "texts that differ", detail)


def check_words(lm: LM) -> Finding:
    """Tokens by llama.cpp's name for the words alone, where the words are our own."""
    name, metadata = "words in llama.cpp", to_gguf(lm.tokenizer, lm.tokenizer.vocab_size)
    own = metadata.pop(WORDS, None)
    if own is None:
        return not_applicable(name, "its words have a name there")
    as_there = from_gguf(metadata, "GGUF")
    unlike = [text for text in PROBES if as_there.encode(text) != lm.tokenizer.encode(text)]
    marks = "alike" if as_there.encode(MARKS) == lm.tokenizer.encode(MARKS) else "otherwise"
    detail = f"read as {NEAREST[own]!r}; words with combining marks (Hindi, Thai): {marks}"
    return at_most(name, len(unlike), 0, "texts that differ", detail)


def check_template(lm: LM, again: LM) -> Finding:
    """A conversation as the chat template writes it, and its ids."""
    name, unit = "chat template", "conversations that differ"
    one, other = lm.tokenizer.chat, again.tokenizer.chat
    if one is None:
        return not_applicable(name, "the model has none")
    if other is None:
        return Finding(name, 1.0, 0.0, unit, False, "the file has none")
    try:
        same = one.render(TALK, generate=True) == other.render(TALK, generate=True)
        same = same and one.prompt(TALK) == other.prompt(TALK)
    except DataError as error:
        return Finding(name, None, 0.0, unit, False, str(error))
    return at_most(name, float(not same), 0, unit, f"{len(TALK)} messages, text and ids")


def check_ends(lm: LM, again: LM) -> Finding:
    """The ids that begin, end and pad, and those that end an answer."""
    one, other = lm.tokenizer, again.tokenizer
    pairs = {
        role: (getattr(one, f"{role}_id"), getattr(other, f"{role}_id"))
        for role in ("bos", "eos", "pad")
    } | {"start": (one.start, other.start), "ends": (lm.turn_ids, again.turn_ids)}
    unlike = [f"{role}: {b}, not {a}" for role, (a, b) in pairs.items() if a != b]
    detail = "; ".join(unlike) or f"ends {sorted(lm.turn_ids)}"
    return at_most("control ids", len(unlike), 0, "roles that differ", detail)


def check_llama_cpp(
    lm: LM, path: Path, ids: list[int], expected: Logits, numbers: str
) -> list[Finding]:
    """The file in llama.cpp, through llama-cpp-python, in a process of its own."""
    texts = [text for text in PROBES if text.strip()]
    told = ask_llama_cpp(path, Asked(ids, texts))
    if not isinstance(told, Told):
        return [not_applicable("in llama.cpp", told)]
    numbers = "F16" if numbers == "F32" else numbers  # its cache keeps 16 bits
    logits = check_logits(told.logits, expected, numbers, f"{len(ids)} tokens")
    unlike = [
        text
        for text, found in zip(texts, told.tokens, strict=True)
        if found != lm.tokenizer.encode(text)
    ]
    detail = "; ".join(f"{text!r:.60}" for text in unlike) or f"{len(texts)} texts"
    rows = [*logits, at_most("tokens", len(unlike), 0, "texts that differ", detail)]
    return [_named(row, f"in llama.cpp: {row.name}") for row in rows]


def _named(row: Finding, name: str) -> Finding:
    return Finding(name, row.measured, row.allowed, row.unit, row.passed, row.detail)
