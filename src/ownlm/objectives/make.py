"""From a configuration to the objective: what a model can learn, and what it learns unless told."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from ownlm import native
from ownlm.errors import ConfigError
from ownlm.models.families import FAMILIES
from ownlm.models.family import Architecture
from ownlm.models.hf_config import Reader
from ownlm.objectives.causal import Causal
from ownlm.objectives.codes import ControlCodes
from ownlm.objectives.config import Kind, ObjectiveConfig
from ownlm.objectives.denoise import Infilling, Spans
from ownlm.objectives.masked import Corruption, Masked
from ownlm.objectives.middle import MIDDLE, PREFIX, SUFFIX, FillInTheMiddle
from ownlm.objectives.objective import Objective
from ownlm.objectives.permutation import Permutation
from ownlm.objectives.prefix import Prefix
from ownlm.objectives.replaced import Replaced
from ownlm.objectives.rows import Ids
from ownlm.objectives.seq2seq import Seq2Seq
from ownlm.objectives.vocabulary import vocabulary
from ownlm.tokenization.tokenizer import Tokenizer

Shape = Literal["decoder", "encoder", "encoder-decoder"]

# fmt: off
FOR = {
    "causal":    "decoder",
    "prefix":    "decoder",
    "codes":     "decoder",
    "middle":    "decoder",
    "masked":    "encoder",
    "replaced":  "encoder",
    "permutation": "encoder",
    "spans":     "encoder-decoder",
    "infilling": "encoder-decoder",
    "seq2seq":   "encoder-decoder",
}
# fmt: on
"""The shape of model that each objective is for."""

USUAL: dict[Shape, Kind] = {
    "decoder": "causal",
    "encoder": "masked",
    "encoder-decoder": "spans",
}
RATES = {
    "masked": 0.15,
    "replaced": 0.15,
    "permutation": 1 / 6,
    "spans": 0.15,
    "infilling": 0.3,
    "middle": 0.5,
}
OWN: dict[str, Kind] = {
    "bart": "infilling",
    "ctrl": "codes",
    "electra": "replaced",
    "xlnet": "permutation",
}
"""Families that were pretrained otherwise than the rest of their shape."""
RECURRENT = 4
"""Segments of a window for families with a memory."""
REMEMBER = ("transformer-xl", "xlnet", "lstm")

SENTINELS = tuple(f"<extra_id_{number}>" for number in range(100))
"""T5's; a tokenizer of a few hundred tokens may do with fewer."""

CONTROLS: dict[str, tuple[str, ...]] = {
    "middle": (PREFIX, SUFFIX, MIDDLE),
    "masked": ("<|begin|>", "<|mask|>"),
    "replaced": ("<|begin|>", "<|mask|>"),
    "spans": SENTINELS,
    "infilling": ("<|begin|>", "<|mask|>"),
}
"""Control tokens that a tokenizer trained for the objective is given."""


def shape_of(architecture: Architecture) -> Shape:
    """Which of the three kinds of Transformer a model is."""
    if architecture.encoder is not None:
        return "encoder-decoder"
    return "decoder" if architecture.stack.causal else "encoder"


def settled(config: ObjectiveConfig, architecture: Architecture, family: str) -> ObjectiveConfig:
    """`config` with nothing left open; ConfigError where the model cannot learn it."""
    kind: Kind = config.kind
    if kind == "mixture":
        raise ConfigError(
            "a mixture of which tasks?",
            where="mixture.tasks",
            next_command="name them in the YAML file of --config",
        )
    if kind == "auto":
        kind = OWN.get(family, USUAL[shape_of(architecture)])
    _require_able(kind, architecture, family)
    rate = config.rate or RATES.get(kind, 0.0)
    found = {"kind": kind, "rate": rate, "pairs": _pairs(config, kind, architecture, family)}
    return config.model_copy(update=found | {"segments": _segments(config, family)})


def _require_able(kind: Kind, architecture: Architecture, family: str) -> None:
    shape = shape_of(architecture)
    if "permutation" in (kind, OWN.get(family)) and kind != OWN.get(family):
        raise ConfigError(
            f"{family} cannot learn {kind!r}",
            where="objective.kind",
            next_command=f"--objective.kind {OWN.get(family, USUAL[shape])}",
        )
    if FOR[kind] != shape:
        able = ", ".join(name for name, wanted in FOR.items() if wanted == shape)
        article = "a" if shape == "decoder" else "an"
        others = ", ".join(_families(FOR[kind]))
        raise ConfigError(
            f"{family} is {article} {shape}, which cannot learn {kind!r}; these can: {others}",
            where="objective.kind",
            next_command=f"--objective.kind {able.split(', ')[0]} (it can learn: {able})",
        )
    detects = kind == "replaced" and architecture.form == "ForPreTraining"
    if not (architecture.head.vocab or detects):
        raise ConfigError(
            f"a {family} with this head says no words, and cannot learn {kind!r}",
            where="model.head",
            next_command="leave out model.head",
        )
    if kind in ("prefix", "codes") and family in REMEMBER:
        raise ConfigError(
            f"{family} reads in one direction only, and cannot learn 'prefix'"
            if kind == "prefix"
            else f"{family} reads segments with a memory, and cannot learn {kind!r}",
            where="objective.kind",
            next_command="--objective.kind causal, or a family without memory such as gpt2, llama",
        )


def _families(shape: str) -> list[str]:
    """Names of the families of a shape, but for those with a memory."""
    return [
        name
        for name, family in FAMILIES.items()
        if name not in REMEMBER
        and shape_of(family.from_hf(Reader(family.to_hf(family.typical)))) == shape
    ]


def _pairs(config: ObjectiveConfig, kind: Kind, architecture: Architecture, family: str) -> str:
    can_pair = kind == "masked" and architecture.task is not None
    pairs = config.pairs
    if pairs == "auto":
        pairs = "next" if can_pair else "none"
    if pairs != "none" and not can_pair:
        raise ConfigError(
            f"{family} has no head that answers for pairs of segments",
            where="objective.pairs",
            next_command="--objective.pairs none, or --model.family bert",
        )
    return pairs


def _segments(config: ObjectiveConfig, family: str) -> int:
    segments = config.segments or (RECURRENT if family in REMEMBER else 1)
    if segments > 1 and family not in REMEMBER:
        raise ConfigError(
            f"{family} keeps no memory between segments",
            where="objective.segments",
            next_command=f"--objective.segments 1, or one of {', '.join(REMEMBER)}",
        )
    return segments


def make_objective(config: ObjectiveConfig, tokenizer: Tokenizer, start: str = "") -> Objective:
    """The objective of a settled configuration.

    `start` is the role of the token that a decoder begins with: "pad" (T5) or "end" (BART).
    ConfigError when the tokenizer lacks control tokens.
    """
    if config.kind == "causal":
        return Causal(segments=max(1, config.segments))
    if config.kind == "prefix":
        return Prefix()
    if config.kind == "permutation":
        return Permutation(rate=config.rate, segments=max(1, config.segments))
    vocab = vocabulary(tokenizer)
    if config.kind == "codes":
        return ControlCodes(vocab, _codes(tokenizer))
    if config.kind == "middle":
        return FillInTheMiddle(vocab, rate=config.rate)
    if config.kind == "masked":
        words = chinese_words(tokenizer) if config.unit == "chinese" else None
        corruption = Corruption(rate=config.rate, unit=config.unit)
        pairs = "none" if config.pairs == "auto" else config.pairs
        return Masked(vocab, corruption, pairs=pairs, dynamic=config.dynamic, words=words)
    if config.kind == "replaced":
        return Replaced(vocab, Corruption(rate=config.rate, masked=1.0, random=0.0))
    first = vocab.need(start or "pad")
    if config.kind == "seq2seq":
        return Seq2Seq(vocab, first, tokenizer.eos_id, smoothing=config.smoothing)
    kind = Infilling if config.kind == "infilling" else Spans
    return kind(vocab, first, rate=config.rate, mean=config.span)


def _codes(tokenizer: Tokenizer) -> Ids:
    if not tokenizer.codes:
        raise ConfigError(
            "the tokenizer has no control codes",
            where="tokenizer",
            next_command="let it be trained with the data, whose documents have codes: "
            "--data.codes folder",
        )
    return np.array(list(tokenizer.codes.values()))


def chinese_words(tokenizer: Tokenizer) -> Callable[[Ids], Ids]:
    """Numbers the words of some tokens, Chinese ones as a segmenter finds them (Cui et al. 2019,
    arXiv:1906.08101); a token belongs to the word that its first character is in."""
    try:
        import jieba
    except ImportError:
        raise ConfigError(
            "finding words in Chinese text needs jieba",
            where="objective.unit",
            next_command="pip install ownlm[zh], or --objective.unit token",
        ) from None
    jieba.setLogLevel(60)  # it reports its dictionary's load time on stderr
    segmenter = jieba.Tokenizer()
    folder = native.cache_folder()  # by default it would read what others left in /tmp
    folder.mkdir(parents=True, exist_ok=True)
    segmenter.tmp_dir = str(folder)

    def numbered(ids: Ids) -> Ids:
        pieces = [tokenizer.readable(int(id)).removeprefix("##").lstrip() or " " for id in ids]
        ends = np.cumsum([len(word) for word in segmenter.cut("".join(pieces))])
        starts = np.cumsum([0, *(len(piece) for piece in pieces[:-1])])
        words: Ids = np.searchsorted(ends, starts, side="right")
        return np.unique(words, return_inverse=True)[1].astype(np.int64)

    return numbered
