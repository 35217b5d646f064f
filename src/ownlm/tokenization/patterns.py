"""How public byte-level tokenizers cut text into words, by name.

The expressions are the makers' own. They differ in how digits are grouped, in what may lead a
word, and in whether a change of case ends one; a tokenizer read with another's gives other ids.
"""

from collections.abc import Callable

from tokenizers import Regex, pre_tokenizers

from ownlm.tokenization.words import byte_words

_WORD = r"[^\r\n\p{L}\p{N}]?"
_SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACE = r"\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"

CL100K = rf"{_SHORT}|{_WORD}\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACE}"
"""GPT-4's, and LLaMA 3's."""
QWEN = rf"{_SHORT}|{_WORD}\p{{L}}+|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{_SPACE}"
"""Digits one by one."""
O200K = (
    rf"{_WORD}{_UPPER}*{_LOWER}+{_SHORT}?|{_WORD}{_UPPER}+{_LOWER}*{_SHORT}?"
    rf"|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACE}"
)
"""GPT-4o's: a change of case ends a word."""
TEKKEN = (
    rf"{_WORD}{_UPPER}*{_LOWER}+|{_WORD}{_UPPER}+{_LOWER}*"
    rf"|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_SPACE}"
)
"""Mistral's."""


def bytes_by(pattern: str) -> pre_tokenizers.PreTokenizer:
    """Words of a pattern, each byte as one visible character."""
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def gpt2_words(prefix_space: bool = False) -> pre_tokenizers.PreTokenizer:
    """GPT-2's words; `prefix_space`: a text starts as if after a space."""
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=True)


def single_digits() -> pre_tokenizers.PreTokenizer:
    """GPT-2's words, but digits one by one (SmolLM, StarCoder)."""
    return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), gpt2_words()])


def _llama3_words() -> pre_tokenizers.PreTokenizer:
    return bytes_by(CL100K)


NAMES: dict[str, Callable[[], pre_tokenizers.PreTokenizer]] = {
    **dict.fromkeys(("default", "gpt-2", "gpt2", "olmo", "phi-2", "mpt", "jais"), gpt2_words),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell"), single_digits),
    **dict.fromkeys(
        ("llama-bpe", "llama3", "llama-v3", "dbrx", "smaug-bpe", "falcon3", "pixtral"),
        _llama3_words,
    ),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "megrez"), lambda: bytes_by(QWEN)),
    **dict.fromkeys(("gpt-4o", "llama4"), lambda: bytes_by(O200K)),
    "tekken": lambda: bytes_by(TEKKEN),
    "ownlm": byte_words,
}
"""Names that GGUF files use (`tokenizer.ggml.pre`), and one of ours (from_gguf.WORDS)."""
