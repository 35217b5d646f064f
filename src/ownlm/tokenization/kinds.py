"""Kinds of public tokenizers: which tokens play a role when the files do not say, and what is
put around a text.

A kind is found by `tokenizer_class` in tokenizer_config.json, else by `model_type` in
config.json. Files that say more win over this table.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Kind(NamedTuple):
    """What the files of one kind of tokenizer leave unsaid."""

    roles: Mapping[str, str]
    single: str = "A"
    """Around one text: roles, `A` the text, each with its sentence number (`sep:1`) if not 0."""
    pair: str = "A B:1"
    others: tuple[str, ...] = ()
    """Control tokens that play no role."""


def _roles(pattern: str, *names: str) -> dict[str, str]:
    """Names written alike: _roles("[{}]", "pad", ...) is {"pad": "[PAD]", ...}."""
    upper = pattern.startswith("[")
    return {name: pattern.format(name.upper() if upper else name) for name in names}


_END = "<|endoftext|>"
_S = {"bos": "<s>", "eos": "</s>"}
_ANGLES = _roles("<{}>", "unk", "pad", "mask")

KINDS: dict[str, Kind] = {
    "bert": Kind(
        _roles("[{}]", "unk", "sep", "pad", "cls", "mask"),
        "cls A sep",
        "cls A sep B:1 sep:1",
    ),
    "gpt2": Kind({"unk": _END, "bos": _END, "eos": _END}),
    "qwen2": Kind({"unk": _END, "eos": _END, "pad": _END}),
    "roberta": Kind(
        _S | _ANGLES | {"cls": "<s>", "sep": "</s>"}, "cls A sep", "cls A sep sep B sep"
    ),
    # Neither has a token for the end of a text. The unknown token, which ordinary text hardly
    # ever holds, stands in for it.
    "gpt1": Kind({"unk": "<unk>", "eos": "<unk>"}),
    "ctrl": Kind({"unk": "<unk>", "eos": "<unk>"}),
    "llama": Kind(_S | {"unk": "<unk>"}, "bos A", "bos A bos B:1"),
    "gemma": Kind(_roles("<{}>", "bos", "eos") | _ANGLES, "bos A", "bos A bos B:1"),
    "t5": Kind({"eos": "</s>", "unk": "<unk>", "pad": "<pad>"}, "A eos", "A eos B eos"),
    "xlnet": Kind(
        _S | _ANGLES | _roles("<{}>", "sep", "cls"),
        "A sep cls:2",
        "A sep B:1 sep:1 cls:2",
        ("<eop>", "<eod>"),
    ),
    "marian": Kind({"eos": "</s>", "unk": "<unk>", "pad": "<pad>"}, "A eos", "A B eos"),
}

_CLASSES = {
    "bert": ("Bert", "DistilBert", "Electra", "MobileBert"),
    "gpt2": ("GPT2", "GPTNeoX", "CodeGen"),
    "qwen2": ("Qwen2",),
    "roberta": ("Roberta", "Bart", "Longformer", "LED"),
    "gpt1": ("OpenAIGPT",),
    "ctrl": ("CTRL",),
    "llama": ("Llama",),
    "gemma": ("Gemma",),
    "t5": ("T5", "MT5"),
    "xlnet": ("XLNet",),
    "marian": ("Marian",),
}
_MODELS = {
    "bert": ("bert", "distilbert", "electra", "mobilebert"),
    "gpt2": ("gpt2", "gpt_neo", "gpt_neox", "gptj", "phi", "opt"),
    "qwen2": ("qwen2", "qwen2_moe", "qwen3", "qwen3_moe"),
    "roberta": ("roberta", "bart", "longformer", "led"),
    "gpt1": ("openai-gpt",),
    "ctrl": ("ctrl",),
    "llama": ("llama", "mistral", "mixtral", "phi3"),
    "gemma": ("gemma", "gemma2", "gemma3", "gemma3_text"),
    "t5": ("t5", "mt5"),
    "xlnet": ("xlnet",),
    "marian": ("marian",),
}


def kind_of(tokenizer_class: str, model_type: str) -> str:
    """The key of KINDS for a class ("BertTokenizerFast") or a model type; "" when neither is
    known, as with the general PreTrainedTokenizerFast of an unknown model."""
    name = tokenizer_class.removesuffix("Fast").removesuffix("Tokenizer")
    for kind, classes in _CLASSES.items():
        if name in classes:
            return kind
    return next((kind for kind, types in _MODELS.items() if model_type in types), "")
