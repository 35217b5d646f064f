"""Reading a tokenizer from disk, in whatever files its makers published it.

Every fault is named before the library sees a file.
"""

from collections.abc import Callable
from pathlib import Path

from ownlm.errors import DataError
from ownlm.tokenization.check import check
from ownlm.tokenization.from_merges import from_merges, read_vocab
from ownlm.tokenization.from_sentencepiece import from_marian, from_sentencepiece
from ownlm.tokenization.from_tiktoken import from_tiktoken, is_tiktoken
from ownlm.tokenization.from_wordpiece import from_wordpiece
from ownlm.tokenization.settings import Settings, read_bytes, read_settings, read_text
from ownlm.tokenization.spm import SpmModel, read_spm
from ownlm.tokenization.tokenizer import FILE, Tokenizer

_PLACES = ("", "tokenizer", "model")
"""Where below a folder: a model, prepared data, a run."""


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a file or of a folder that holds one.

    tokenizer.json where there is one; else SentencePiece models, tiktoken ranks, vocab.json with
    merges.txt, or BERT's vocab.txt, each with what tokenizer_config.json and its like say beside
    them. Raises DataError for a file that is missing, is no tokenizer, or contradicts itself.
    """
    file, read = _find(path)
    try:
        return read(file, read_settings(file.parent))
    except DataError as error:
        raise DataError(
            error.what,
            where=error.where or str(file),
            next_command=error.next_command
            or "take another tokenizer, or train one: ownlm tokenizer train PATH --out FOLDER",
        ) from None


def _json(file: Path, settings: Settings) -> Tokenizer:
    text = read_text(file)
    check(text)
    unsaid = {f"{role}_token": name for role, name in settings.unsaid.roles.items()}
    eos = {key: unsaid[key] for key in ("eos_token",) if key in unsaid}
    return Tokenizer(text, eos | dict(settings.values))


def _model(file: Path, settings: Settings) -> Tokenizer:
    """A .model file, which is SentencePiece's or (LLaMA 3) tiktoken's."""
    data = read_bytes(file)
    if is_tiktoken(data):
        return from_tiktoken(file, settings)
    return from_sentencepiece(_spm(file, data), settings, str(file))


def _marian(file: Path, settings: Settings) -> Tokenizer:
    """source.spm, and the ids in vocab.json beside it."""
    if settings.flag("separate_vocabs", False):
        raise DataError("separate_vocabs: two vocabularies are not supported", where=settings.where)
    vocab = file.with_name("vocab.json")
    return from_marian(_spm(file, read_bytes(file)), read_vocab(vocab), settings, str(vocab))


def _spm(file: Path, data: bytes) -> SpmModel:
    try:
        return read_spm(data)
    except DataError as error:
        raise DataError(error.what, where=str(file)) from None


def _merges(file: Path, settings: Settings) -> Tokenizer:
    return from_merges(file.with_name("vocab.json"), file, settings)


def _gpt2_merges(file: Path, settings: Settings) -> Tokenizer:
    return from_merges(file.with_name("encoder.json"), file, settings)


Read = Callable[[Path, Settings], Tokenizer]
_FORMS: tuple[tuple[str, str, Read], ...] = (
    (FILE, "", _json),
    ("source.spm", "vocab.json", _marian),
    ("merges.txt", "vocab.json", _merges),
    ("vocab.bpe", "encoder.json", _gpt2_merges),
    ("tokenizer.model", "", _model),
    ("spiece.model", "", _model),
    ("*.model", "", _model),
    ("*.tiktoken", "", from_tiktoken),
    ("vocab.txt", "", from_wordpiece),
)
"""Files by name, best first, with one that must be beside them."""


def _find(path: Path) -> tuple[Path, Read]:
    if path.is_file():
        return path, _by_name(path)
    for place in _PLACES:
        for name, other, read in _FORMS:
            found = sorted((path / place).glob(name))
            if found and (not other or found[0].with_name(other).is_file()):
                return found[0], read
    forms = [f"{name} with {other}" if other else name for name, other, _ in _FORMS]
    raise DataError(
        f"no tokenizer here; looked for {', '.join(forms)}",
        where=str(path),
        next_command="ownlm tokenizer train PATH --out FOLDER makes one",
    )


def _by_name(file: Path) -> Read:
    """How a single file is read: as the form its name says, else as tokenizer.json."""
    if file.name == "vocab.json" or file.name == "encoder.json":
        other = {"vocab.json": "merges.txt", "encoder.json": "vocab.bpe"}[file.name]
        return lambda vocab, settings: from_merges(vocab, vocab.with_name(other), settings)
    for name, _, read in _FORMS:
        if file.match(name):
            return read
    forms = {".txt": from_wordpiece, ".spm": _model}
    return forms.get(file.suffix, _json)
