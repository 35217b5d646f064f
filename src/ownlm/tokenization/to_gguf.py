"""A tokenizer as the metadata of a GGUF file: from_gguf.py the other way round.

Byte-level BPE becomes "gpt2" with merges and the name of its words; SentencePiece's BPE becomes
"llama" with scores, the order in which pieces are joined. llama.cpp knows no others that a
decoder here could have. What is written is read again at once: a tokenizer whose tokens do not
come back is refused.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ownlm.errors import ConfigError, DataError
from ownlm.tokenization.assemble import section
from ownlm.tokenization.chat import chosen
from ownlm.tokenization.from_gguf import KEY, ROLES, WORDS, byte_level, from_gguf
from ownlm.tokenization.spm import BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED
from ownlm.tokenization.tokenizer import Tokenizer, token_names

NAMED = ("gpt-2", "smollm", "llama-bpe", "dbrx", "qwen2", "megrez", "gpt-4o", "tekken")
"""Words that are written under a name of llama.cpp's, one name for each way to cut them."""
NEAREST = {"ownlm": "dbrx"}
"""Our own words, and the name that llama.cpp reads instead. It differs in two things: words end
before combining marks (Hindi, Thai), and runs of more than 64 characters are not cut."""
PROBES = (
    "Hello, world! It's 12,345.67 o'clock; we'll see.",
    "  indented\n\n\tdef f(x):\n        return x ** 2  # done\n",
    "naïve café Straße Ωμέγα Привет мир",
    "中文和English混排，第3章。\n日本語のテキスト 한국어",
    "😀 emoji 👩‍👩‍👧 <b>html</b> https://example.org/a?b=c",
    "",
    " ",
)
"""Texts whose tokens are compared."""
MARKS = "हिन्दी में शब्द"
"""What llama.cpp cuts otherwise than our own words."""


def to_gguf(tokenizer: Tokenizer, vocab: int, ends: Collection[int] = ()) -> dict[str, Any]:
    """The metadata, for a model with so many rows; `ends` are all ids that end what it writes.

    ConfigError for a tokenizer that llama.cpp has no form for.
    """
    spec = tokenizer.spec
    values = {f"{KEY}{key}": value for key, value in _common(tokenizer, vocab, ends).items()}
    for own in _forms(tokenizer, spec, values):
        made = values | {k if k == WORDS else f"{KEY}{k}": value for k, value in own.items()}
        if not differing(tokenizer, made):
            return made | _templates(tokenizer)
    raise _no_form(tokenizer, "its words or its normalisation have no name there")


def differing(tokenizer: Tokenizer, metadata: Mapping[str, Any]) -> list[str]:
    """The texts of PROBES whose tokens are others when read from the metadata."""
    try:
        again = from_gguf(metadata, "GGUF")
        return [text for text in PROBES if again.encode(text) != tokenizer.encode(text)]
    except DataError:  # a form that the tokenizer cannot have
        return [*PROBES]


def _no_form(tokenizer: Tokenizer, why: str) -> ConfigError:
    return ConfigError(
        f"llama.cpp has no form for this tokenizer ({tokenizer.kind}): {why}",
        where="--to gguf",
        next_command="byte-level BPE (--tokenizer.kind bpe) and LLaMA's SentencePiece have one",
    )


def _common(tokenizer: Tokenizer, vocab: int, ends: Collection[int]) -> dict[str, Any]:
    names = token_names(tokenizer.spec)[: tokenizer.vocab_size]
    spare = range(len(names), vocab)
    ids = {f"{key}_token_id": getattr(tokenizer, f"{role}_id") for role, key in ROLES.items()}
    others = [id for id in sorted(ends) if id != tokenizer.eos_id]
    ids |= {f"{key}_token_id": id for key, id in zip(("eot", "eom"), others)}
    return {
        "tokens": [*names, *(f"[PAD{id}]" for id in spare)],
        "token_type": [*_kinds(tokenizer, names), *[UNUSED] * len(spare)],
        "add_bos_token": tokenizer.start[:1] == [tokenizer.bos_id],
        **{key: id for key, id in ids.items() if id is not None},
    }


def _kinds(tokenizer: Tokenizer, names: list[str]) -> Iterator[int]:
    added = {e["content"]: bool(e["special"]) for e in tokenizer.spec.get("added_tokens") or []}
    bytes_too = tokenizer.spec["model"].get("byte_fallback")
    for id, name in enumerate(names):
        if bytes_too and len(name) == 6 and name.startswith("<0x"):
            yield BYTE
        elif id == tokenizer.unk_id and bytes_too:
            yield UNKNOWN
        elif name in added:
            yield CONTROL if added[name] else USER_DEFINED
        else:
            yield NORMAL


def _forms(
    tokenizer: Tokenizer, spec: Mapping[str, Any], values: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """What may say how text is cut, likeliest first."""
    model = spec["model"]
    if model["type"] != "BPE" or not model["merges"]:
        raise _no_form(tokenizer, "only byte pair encoding with merges is read")
    if (spec["decoder"] or {}).get("type") == "ByteLevel":
        merges = [" ".join(_pair(merge)) for merge in model["merges"]]
        for words in _words(spec):
            yield {"model": "gpt2", "merges": merges, **words}
    elif model["byte_fallback"]:
        scores = _scores(model, values[f"{KEY}tokens"])
        for squeeze, prefix in itertools.product((False, True), (True, False)):
            flags = {"add_space_prefix": prefix, "remove_extra_whitespaces": squeeze}
            yield {"model": "llama", "scores": scores, **flags}


def _words(spec: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The names whose words, normalisation and use of merges are those of the file."""
    wanted = _cut(spec["normalizer"], spec["pre_tokenizer"], spec["model"].get("ignore_merges"))
    for name in (*NAMED, *NEAREST):
        normalizer, words, ignore = byte_level(name)
        if _cut(section(normalizer), section(words), ignore) == wanted:
            yield {"pre": NEAREST.get(name, name), **({WORDS: name} if name in NEAREST else {})}


def _cut(normalizer: Any, words: Any, ignore_merges: Any) -> tuple[Any, Any, bool]:
    """Sections of a tokenizer.json without what changes no id."""
    return normalizer, _plain(words), bool(ignore_merges)


def _plain(words: Any) -> Any:
    if not isinstance(words, dict):
        return words
    if words.get("type") == "Sequence":
        return [_plain(one) for one in words["pretokenizers"]]
    left = {key: value for key, value in words.items() if key != "trim_offsets"}
    return {"use_regex": True} | left if words.get("type") == "ByteLevel" else left


def _scores(model: Mapping[str, Any], tokens: list[str]) -> list[float]:
    """SentencePiece's: the earlier two pieces are joined, the higher the score of the result."""
    order: dict[str, int] = {}
    for merge in model["merges"]:
        order.setdefault("".join(_pair(merge)), len(order))
    return [-float(order.get(token, len(order))) for token in tokens]


def _pair(merge: Any) -> list[str]:
    """A merge as it was written before tokenizers 0.20, and since."""
    return merge.split(" ") if isinstance(merge, str) else list(merge)


def _templates(tokenizer: Tokenizer) -> dict[str, Any]:
    found, key = chosen(tokenizer.settings), "tokenizer.chat_template"
    if found is None:
        return {}
    tools = {} if found.tools == found.plain else {f"{key}.tool_use": found.tools}
    return {key: found.plain, **tools}
