"""vocab.json and merges.txt: GPT-2, RoBERTa, BART, Qwen2, and the two ways before bytes.

Byte pair encoding (Sennrich et al. 2016, arXiv:1508.07909). GPT-2's kind merges bytes, shown as
visible characters. GPT-1's merges characters of lower-cased words and marks a word's last piece
by "</w>"; CTRL's marks all pieces but the last by "@@".
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers

from ownlm.errors import DataError
from ownlm.tokenization.assemble import Parts, assemble, model_of
from ownlm.tokenization.check import parse_object
from ownlm.tokenization.patterns import QWEN, bytes_by, gpt2_words
from ownlm.tokenization.settings import Settings, numbered_lines, read_text
from ownlm.tokenization.tokenizer import Tokenizer

Merge = tuple[str, str]
END, GOES_ON = "</w>", "@@"
_SHOWN = 60


def from_merges(vocab_file: Path, merges_file: Path, settings: Settings) -> Tokenizer:
    """The tokenizer of two files; DataError names the file, and the line of a merge."""
    vocab = read_vocab(vocab_file)
    style = settings.kind if settings.kind in _STYLES else _style(vocab)
    merges = _read_merges(merges_file)
    if style == "ctrl":
        vocab = _by_end(vocab)
        parts = _continued(vocab, [pair for _, pair in merges], settings)
    else:
        _check_merges(merges, vocab)
        parts = _STYLES[style](vocab, [pair for _, pair in merges], settings)
    return assemble(parts, replace(settings, kind=settings.kind or style), str(vocab_file))


def read_vocab(file: Path) -> dict[str, int]:
    """Ids by token from a JSON object."""
    try:
        vocab = parse_object(read_text(file))
        for token, id in vocab.items():
            if isinstance(id, bool) or not isinstance(id, int) or id < 0:
                raise DataError(f"{token!r:.{_SHOWN}}: expected an id, found {id!r:.{_SHOWN}}")
    except DataError as error:
        raise DataError(error.what, where=str(file)) from None
    return vocab


def _read_merges(file: Path) -> list[tuple[str, Merge]]:
    """Pairs, each with its place for messages. The first line may name a version."""
    merges = []
    for number, (where, line) in enumerate(numbered_lines(file)):
        if (number == 0 and line.startswith("#version")) or not line:
            continue
        pair = line.split(" ")
        if len(pair) != 2 or not all(pair):
            raise DataError(f"{line!r:.{_SHOWN}} is not a pair of tokens", where=where)
        merges.append((where, (pair[0], pair[1])))
    return merges


def _check_merges(merges: list[tuple[str, Merge]], vocab: dict[str, int]) -> None:
    for where, (left, right) in merges:
        for token in (left, right, left + right):
            if token not in vocab:
                raise DataError(
                    f"the merge {left!r:.{_SHOWN}} {right!r:.{_SHOWN}} needs {token!r:.{_SHOWN}}, "
                    "which is not in the vocabulary",
                    where=where,
                )


def _style(vocab: dict[str, int]) -> str:
    """What the tokens themselves tell of their kind."""
    if any(token.endswith(END) for token in vocab):
        return "gpt1"
    if sum(token.endswith(GOES_ON) for token in vocab) > len(vocab) // 10:
        return "ctrl"
    return "gpt2"


def _byte_level(vocab: dict[str, int], merges: list[Merge], settings: Settings) -> Parts:
    return Parts(
        model=model_of(models.BPE, vocab=vocab, merges=merges),
        pre_tokenizer=gpt2_words(settings.flag("add_prefix_space", False)),
        decoder=decoders.ByteLevel(),
    )


def _qwen(vocab: dict[str, int], merges: list[Merge], settings: Settings) -> Parts:
    return Parts(
        model=model_of(models.BPE, vocab=vocab, merges=merges),
        normalizer=normalizers.NFC(),
        pre_tokenizer=bytes_by(QWEN),
        decoder=decoders.ByteLevel(),
    )


def _suffixed(vocab: dict[str, int], merges: list[Merge], settings: Settings) -> Parts:
    """GPT-1's: BERT's words in lower case."""
    return Parts(
        model=_ended(vocab, merges, settings),
        normalizer=normalizers.BertNormalizer(lowercase=True),
        pre_tokenizer=pre_tokenizers.BertPreTokenizer(),
        decoder=decoders.BPEDecoder(suffix=END),
    )


def _continued(vocab: dict[str, int], merges: list[Merge], settings: Settings) -> Parts:
    """CTRL's: words are what stands between spaces, a line feed belonging to the word before.

    Its vocabulary lacks pieces that never end up in a text but that merges pass through. They
    get ids after all others, which the Tokenizer turns into the unknown token's.
    """
    passing: dict[str, int] = {}
    first = max(len(vocab), *(id + 1 for id in settings.added), 0)
    for left, right in merges:
        for token in (left, right, left + right):
            if token not in vocab:
                passing.setdefault(token, first + len(passing))
    split = pre_tokenizers.Split(Regex(r"\S+\n?"), "removed", invert=True)
    model = _ended(vocab | passing, merges, settings)
    return Parts(
        model=model,
        pre_tokenizer=split,
        decoder=decoders.BPEDecoder(suffix=END),
        passing=len(passing),
    )


def _ended(vocab: dict[str, int], merges: list[Merge], settings: Settings) -> dict[str, Any]:
    unknown = settings.role("unk")
    name = unknown.content if unknown else "<unk>"
    known = {"unk_token": name} if name in vocab else {}
    return model_of(models.BPE, vocab=vocab, merges=merges, end_of_word_suffix=END) | known


def _by_end(vocab: dict[str, int]) -> dict[str, int]:
    """Pieces of CTRL's vocabulary as merges spell them: "th@@" is "th", "the" is "the</w>"."""
    controls = {"<unk>"}
    found = {}
    for token, id in vocab.items():
        inside = token.removesuffix(GOES_ON)
        goes_on = inside != token and inside
        found[token if token in controls else inside if goes_on else token + END] = id
    if len(found) < len(vocab):
        raise DataError("two tokens of the vocabulary are spelled alike")
    return found


_STYLES = {"gpt2": _byte_level, "roberta": _byte_level, "qwen2": _qwen, "gpt1": _suffixed,
           "ctrl": _continued}  # fmt: skip
