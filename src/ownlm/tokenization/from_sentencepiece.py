"""SentencePiece models as tokenizers: LLaMA, T5, mT5, Gemma, XLNet, Marian.

Kudo & Richardson 2018 (arXiv:1808.06226). The model file states its own rules for spaces,
normalisation and unknown characters; they are followed to the letter, so that ids are those of
the `sentencepiece` package, which made the model's training data. Where the conversions in
`transformers` differ (a space at the start of a text for LLaMA), this does not.
"""

from collections.abc import Mapping
from typing import Any

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from ownlm.errors import DataError
from ownlm.tokenization.assemble import Parts, assemble, model_of
from ownlm.tokenization.charsmap import charsmap_normalizers
from ownlm.tokenization.controls import is_control
from ownlm.tokenization.joins import joins
from ownlm.tokenization.settings import Settings
from ownlm.tokenization.spm import (
    BPE,
    BYTE,
    CONTROL,
    NORMAL,
    UNUSED,
    USER_DEFINED,
    SpmModel,
)
from ownlm.tokenization.tokenizer import Tokenizer

EXTRA_IDS = 100
"""Sentinels that T5 has after its pieces, the last one first."""
TURNS = ("<start_of_turn>", "<end_of_turn>")
"""Control tokens that Gemma's file calls text."""


def from_sentencepiece(model: SpmModel, settings: Settings, where: str) -> Tokenizer:
    """The tokenizer of a model file, with the control tokens that the settings add."""
    names = [piece.text for piece in model.pieces]
    marked = {
        piece.text: id
        for id, piece in enumerate(model.pieces)
        if piece.type == CONTROL or (piece.type == USER_DEFINED and piece.text in TURNS)
    }
    texts = [p.text for p in model.pieces if p.type == USER_DEFINED and p.text not in marked]
    found = any(not is_control({"content": name, "special": False}) for name in texts)
    sentinels = _sentinels(model, settings)
    places = {"bos": model.bos_id, "eos": model.eos_id, "pad": model.pad_id, "unk": model.unk_id}
    prefix = settings.flag("add_prefix_space", model.prefix)
    parts = Parts(
        model=(_bpe if model.kind == BPE else _unigram)(model, settings),
        normalizer=_normalizer(model, settings, prefix and not found),
        pre_tokenizer=_first_space(prefix and found),
        decoder=_decoder(model, prefix),
        controls=marked | sentinels,
        texts=texts,
        roles={role: names[id] for role, id in places.items() if id >= 0},
    )
    return assemble(parts, settings, where)


def from_marian(
    model: SpmModel, vocab: Mapping[str, int], settings: Settings, where: str
) -> Tokenizer:
    """Marian's: source.spm cuts the text, vocab.json has the ids, of the target's pieces too."""
    scores = {p.text: p.score for p in model.pieces if p.type == NORMAL}
    names = {id: token for token, id in vocab.items()}
    missing = next((id for id in range(len(vocab)) if id not in names), None)
    if missing is not None:
        raise DataError(f"no token has id {missing}, of {len(vocab)}", where=where)
    lowest = min(scores.values(), default=0.0)
    unknown = vocab.get("<unk>")
    if unknown is None:
        raise DataError("'<unk>' is not in the vocabulary", where=where)
    entries = [[names[id], _score(names[id], scores, lowest)] for id in range(len(names))]
    prefix = settings.flag("add_prefix_space", model.prefix)
    parts = Parts(
        model=model_of(models.Unigram, vocab=entries, unk_id=unknown),
        normalizer=_normalizer(model, settings, prefix),
        decoder=_decoder(model, prefix),
        controls={name: id for name, id in vocab.items() if name[:2] == ">>" and name[-2:] == "<<"},
    )
    return assemble(parts, settings, where)


def _score(name: str, scores: Mapping[str, float], lowest: float) -> float:
    """Pieces of the target alone are never cut out of a source text, unless nothing else fits."""
    if name in scores:
        return scores[name]
    return lowest - 10 if len(name) == 1 else 32 * lowest - 1000


def _unigram(model: SpmModel, settings: Settings) -> dict[str, Any]:
    """Log probabilities. Pieces that text must not give (bytes as text, pieces out of use) get
    one so low that characters, known or not, are likelier."""
    lowest = min((p.score for p in model.pieces if p.type == NORMAL), default=0.0)
    never = 32 * lowest - 1000
    vocab: list[list[Any]] = [
        [p.text, never if p.type in (UNUSED, BYTE) else p.score] for p in model.pieces
    ]
    if settings.kind == "xlnet":
        # "1997," is read as "1997" and ",", as XLNet's own code does.
        vocab = [[t, s - 100 if len(t) > 1 and t[-1] == "," and t[-2].isdigit() else s]
                 for t, s in vocab]  # fmt: skip
    vocab += [[name, 0.0] for name in _sentinels(model, settings)]
    return model_of(
        models.Unigram, vocab=vocab, unk_id=model.unk_id, byte_fallback=model.byte_fallback
    )


def _sentinels(model: SpmModel, settings: Settings) -> dict[str, int]:
    if settings.kind != "t5" or model.kind == BPE:
        return {}
    usual = 0 if settings.model_type == "mt5" else EXTRA_IDS
    count, first = settings.count("extra_ids", usual), len(model.pieces)
    names = [f"<extra_id_{number}>" for number in reversed(range(count))]
    known = {piece.text for piece in model.pieces}
    return {name: first + place for place, name in enumerate(names) if name not in known}


def _bpe(model: SpmModel, settings: Settings) -> dict[str, Any]:
    """SentencePiece keeps no merges: it joins whatever neighbours give the best-scored piece."""
    joined = {p.text: id for id, p in enumerate(model.pieces) if p.type in (NORMAL, USER_DEFINED)}
    order = {token: -model.pieces[id].score for token, id in joined.items()}
    return model_of(
        models.BPE,
        vocab={piece.text: id for id, piece in enumerate(model.pieces)},
        merges=joins(joined, order),
        unk_token=model.pieces[model.unk_id].text,
        fuse_unk=True,
        byte_fallback=model.byte_fallback,
    )


def _normalizer(model: SpmModel, settings: Settings, prefix: bool) -> Any:
    steps = _xlnet_rules(settings) if settings.kind == "xlnet" else []
    steps += charsmap_normalizers(model.charsmap)
    if model.squeeze:
        steps += [
            normalizers.Replace(Regex(" {2,}"), " "),
            normalizers.Replace(Regex(r"\A "), ""),
            normalizers.Replace(Regex(r"[ ▁]+\z" if model.escape else r" \z"), ""),
        ]
    if prefix:
        steps.append(normalizers.Prepend("▁" if model.escape else " "))
    if model.escape:
        steps.append(normalizers.Replace(" ", "▁"))
    return normalizers.Sequence(steps) if steps else None


def _xlnet_rules(settings: Settings) -> list[Any]:
    """What XLNet does to a text before its model sees it."""
    steps: list[Any] = []
    if settings.flag("remove_space", True):
        steps.append(normalizers.Replace(Regex(r"[\s\x1c-\x1f]+"), " "))
    steps += [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not settings.flag("keep_accents", False):
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if settings.flag("do_lower_case", False):
        steps.append(normalizers.Lowercase())
    return steps


def _first_space(wanted: bool) -> Any:
    """The first space where tokens are cut out of a text before it is normalised: a normaliser
    would put one before each part. Metaspace leaves it out before what it takes for a space; so
    it is told that a space is one, when spaces have become ▁ already."""
    if not wanted:
        return None
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement=" ", prepend_scheme="first", split=False),
            pre_tokenizers.Metaspace(prepend_scheme="never", split=False),
        ]
    )


def _decoder(model: SpmModel, prefix: bool) -> Any:
    steps: list[Any] = [decoders.Replace("▁", " ")]
    if model.byte_fallback:
        steps.append(decoders.ByteFallback())
    steps.append(decoders.Fuse())
    if prefix:
        steps.append(decoders.Strip(content=" ", left=1))
    return decoders.Sequence(steps)
