"""Training a tokenizer on the user's own text.

The `tokenizers` library counts and merges; this file sees to what it leaves open: memory that
does not grow with the corpus, a sample from all of it, the same result at every run whatever
the number of threads, and control tokens that no text can spell.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, processors, trainers

from ownlm.errors import ConfigError, DataError
from ownlm.tokenization import words
from ownlm.tokenization.config import MIB, TokenizerConfig
from ownlm.tokenization.controls import MARKER, refusals
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.sample import Progress, quiet, sample
from ownlm.tokenization.tokenizer import Tokenizer

END, PAD = "<|endoftext|>", "<|pad|>"
BERT = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
UNIGRAM_BYTES = 3 * MIB  # its training costs 10 to 20 s a MiB (a minute in Chinese), and 230 MB
_ALPHABET_SHARE = 0.75  # of a WordPiece vocabulary may go to single characters


def train_tokenizer(
    texts: Iterable[str], config: TokenizerConfig, progress: Progress | None = None
) -> Tokenizer:
    """Learn a vocabulary from `texts`, or load the one that `config.path` names.

    At most `config.sample_bytes` of the texts are held; all of them are read. The vocabulary is
    smaller than asked for when the text does not support more. Raises ConfigError for sizes and
    names that cannot work, DataError when there is no text.
    """
    if existing := settled(config):
        return existing
    controls = control_names(config)
    room = _room(config, len(controls))
    tell = progress or quiet
    pieces = [] if config.kind == "byte" else _sample(texts, config, tell)
    inner = _TRAINERS[config.kind](_Source(pieces, tell), room, config)
    return _finish(inner, config, controls)


def settled(config: TokenizerConfig) -> Tokenizer | None:
    """The tokenizer that `config` names; None, once it is known that one can be learned.

    Needs no text: to be asked before any is read. Raises ConfigError, DataError.
    """
    if config.path:
        return load_tokenizer(Path(config.path))
    _room(config, len(control_names(config)))
    return None


def control_names(config: TokenizerConfig) -> tuple[str, ...]:
    """The control tokens in the order of their ids, at the end of the vocabulary."""
    for name in config.controls:
        if not MARKER.fullmatch(name):
            raise ConfigError(
                f"{name!r} could be a word of ordinary text",
                where="tokenizer.controls",
                next_command=f"write it like <|{name.strip()}|>",
            )
    own = BERT if config.kind == "wordpiece" else (END, PAD)
    return tuple(dict.fromkeys((*own, *config.controls)))


def _sample(texts: Iterable[str], config: TokenizerConfig, tell: Progress) -> list[str]:
    limit = config.sample_bytes
    if config.kind == "unigram":
        limit = min(limit, UNIGRAM_BYTES)
    pieces = sample(texts, limit, tell)
    if not pieces:
        raise DataError("no text to train a tokenizer on")
    return pieces


def _room(config: TokenizerConfig, controls: int) -> int:
    """Ids left for the model's own vocabulary."""
    least = 256 + controls
    if config.vocab_size < least and config.kind != "byte":
        raise ConfigError(
            f"{config.vocab_size} is too small: 256 bytes or letters and {controls} control "
            f"tokens need {least}",
            where="tokenizer.vocab_size",
            next_command="a larger --tokenizer.vocab-size, or --tokenizer.kind byte",
        )
    return config.vocab_size - controls


class _Source:
    """The sampled text, to be gone through once or twice, with progress."""

    def __init__(self, pieces: list[str], tell: Progress) -> None:
        self.pieces, self._tell = pieces, tell
        self._bytes = sum(len(piece.encode("utf-8", "replace")) for piece in pieces)

    def train(self, inner: "tokenizers.Tokenizer", trainer: Any) -> None:
        with refusals(self.pieces):
            inner.train_from_iterator(self._pieces(), trainer)

    def _pieces(self) -> Iterator[str]:
        done = 0
        for piece in self.pieces:
            yield piece
            done += len(piece.encode("utf-8", "replace"))
            self._tell("counting words", done, self._bytes)
        self._tell("learning the vocabulary", self._bytes, self._bytes)


def _bpe(source: _Source, room: int, config: TokenizerConfig) -> "tokenizers.Tokenizer":
    """Byte pair encoding (Sennrich et al. 2016) over bytes (Radford et al. 2019)."""
    inner = _byte_level(models.BPE(), words.byte_words(), config)
    alphabet = words.byte_alphabet()
    source.train(
        inner,
        trainers.BpeTrainer(vocab_size=room, initial_alphabet=alphabet, show_progress=False),
    )
    return inner


def _unigram(source: _Source, room: int, config: TokenizerConfig) -> "tokenizers.Tokenizer":
    """The unigram language model (Kudo 2018) over bytes."""
    inner = _byte_level(models.Unigram(), words.byte_words(), config)
    alphabet = words.byte_alphabet()
    source.train(
        inner,
        trainers.UnigramTrainer(vocab_size=room, initial_alphabet=alphabet, show_progress=False),
    )
    scores = dict(json.loads(inner.to_str())["model"]["vocab"])
    inner.model = models.Unigram(_settle_scores(scores))
    return inner


def _settle_scores(scores: dict[str, float | None]) -> list[tuple[str, float]]:
    """The same pieces with scores that do not depend on the order of a hash table.

    The library adds bytes that it did not learn with the lowest score plus 0, 0.0001, 0.0002...
    in the order its table happens to have (they all get the lowest here), and sums probabilities
    in that order, which moves the last digits. Text too short to learn from gives no scores.
    """
    lowest = min((score for score in scores.values() if score is not None), default=0.0)
    settled = []
    for piece, score in scores.items():
        if score is None or (len(piece) == 1 and score < lowest + 0.03):
            score = lowest
        settled.append((piece, round(score, 6)))
    return sorted(settled, key=lambda entry: (-entry[1], entry[0]))


def _wordpiece(source: _Source, room: int, config: TokenizerConfig) -> "tokenizers.Tokenizer":
    """WordPiece as BERT has it (Devlin et al. 2019); [UNK] stands for characters never seen."""
    inner = _bert(models.WordPiece(unk_token="[UNK]"), config)
    # Characters get their ids from a hash table, and ties are broken by id. So they are learned
    # first, with no room for more, and given in order the second time.
    source.train(inner, trainers.WordPieceTrainer(vocab_size=0, show_progress=False))
    forms = set(inner.get_vocab(with_added_tokens=False))
    alphabet, dropped = _alphabet(source, forms, inner.normalizer, int(room * _ALPHABET_SHARE))
    source.train(
        inner,
        trainers.WordPieceTrainer(vocab_size=room, special_tokens=alphabet, show_progress=False),
    )
    vocab = inner.get_vocab(with_added_tokens=False)
    tokens = sorted(vocab, key=lambda token: vocab[token])
    tokens += dropped[: room - len(tokens)]
    known = {token: id for id, token in enumerate([*tokens, "[UNK]"])}
    return _bert(models.WordPiece(known, unk_token="[UNK]"), config)


def _bert(model: models.WordPiece, config: TokenizerConfig) -> "tokenizers.Tokenizer":
    inner = tokenizers.Tokenizer(model)
    inner.normalizer = words.bert_normalizer(config.lowercase)
    inner.pre_tokenizer, inner.decoder = words.bert_words(), decoders.WordPiece()
    return inner


def _alphabet(
    source: _Source, forms: set[str], normalizer: normalizers.Normalizer, limit: int
) -> tuple[list[str], list[str]]:
    """Single characters for a WordPiece vocabulary (as "c", and "##c" inside a word), at most
    `limit`: ASCII, then the most frequent. Those that find no place, by frequency, are blanked
    out of the text and returned too."""
    counts: Counter[str] = Counter()
    source.pieces = [normalizer.normalize_str(piece) for piece in source.pieces]
    for piece in source.pieces:
        counts.update(piece)
    ascii_only = {normalizer.normalize_str(chr(code)) for code in range(33, 127)}
    alphabet = ascii_only | {f"##{letter}" for letter in ascii_only if letter.isalnum()}
    dropped = []
    for character in sorted(counts, key=lambda c: (-counts[c], c)):
        more = {character, f"##{character}"} & forms - alphabet
        if len(alphabet) + len(more) <= limit:
            alphabet |= more
        else:
            dropped.append(character)
    blank = {ord(character): " " for character in dropped}
    source.pieces = [piece.translate(blank) for piece in source.pieces]
    return sorted(alphabet), dropped


def _byte(source: _Source, room: int, config: TokenizerConfig) -> "tokenizers.Tokenizer":
    """One id a byte, id and byte being the same number."""
    vocab = {character: byte for byte, character in enumerate(words.byte_alphabet())}
    return _byte_level(models.BPE(vocab=vocab, merges=[]), words.byte_runs(), config)


def _char(source: _Source, room: int, config: TokenizerConfig) -> "tokenizers.Tokenizer":
    """One id a character; one that was never seen is written as its bytes."""
    counts: Counter[str] = Counter()
    for piece in source.pieces:
        counts.update(piece.lower() if config.lowercase else piece)
    frequent = sorted(counts, key=lambda c: (-counts[c], c))[: room - 256]
    # An ASCII character is its own byte, so that byte needs no second token.
    covered = {ord(character) for character in frequent}
    spare = [f"<0x{byte:02X}>" for byte in range(256) if byte > 127 or byte not in covered]
    vocab = {token: id for id, token in enumerate([*sorted(frequent), *spare])}
    inner = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=[], byte_fallback=True))
    inner.pre_tokenizer = words.char_runs()
    inner.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    if config.lowercase:
        inner.normalizer = normalizers.Lowercase()
    return inner


_TRAINERS: dict[str, Callable[[_Source, int, TokenizerConfig], "tokenizers.Tokenizer"]] = {
    "bpe": _bpe,
    "wordpiece": _wordpiece,
    "unigram": _unigram,
    "byte": _byte,
    "char": _char,
}


def _byte_level(
    model: models.Model, pre_tokenizer: Any, config: TokenizerConfig
) -> "tokenizers.Tokenizer":
    inner = tokenizers.Tokenizer(model)
    inner.pre_tokenizer, inner.decoder = pre_tokenizer, decoders.ByteLevel()
    if config.lowercase:
        inner.normalizer = normalizers.Lowercase()
    return inner


def _finish(
    inner: "tokenizers.Tokenizer", config: TokenizerConfig, controls: tuple[str, ...]
) -> Tokenizer:
    """Add the control tokens behind all that was learned, and what `transformers` must know."""
    added = [tokenizers.AddedToken(name, special=True, normalized=False) for name in controls]
    inner.add_special_tokens(sorted(added, key=lambda token: token.content != "[UNK]"))
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast"}
    if config.kind == "wordpiece":
        inner.post_processor = _bert_pair(inner)
        settings |= {f"{name[1:-1].lower()}_token": name for name in BERT}
        inputs = ["input_ids", "token_type_ids", "attention_mask"]
    else:
        settings |= {"eos_token": END, "pad_token": PAD}
        inputs = ["input_ids", "attention_mask"]
    settings |= {
        "clean_up_tokenization_spaces": False,
        "model_input_names": inputs,
        "split_special_tokens": True,
    }
    return Tokenizer(inner.to_str(pretty=True), settings)


def _bert_pair(inner: "tokenizers.Tokenizer") -> processors.TemplateProcessing:
    """[CLS] A [SEP] B [SEP], for those who open the tokenizer with `transformers`."""
    return processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, inner.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
