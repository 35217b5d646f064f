"""vocab.txt: BERT's WordPiece, a token a line, the line's number its id (Devlin et al. 2019)."""

from dataclasses import replace
from pathlib import Path

from tokenizers import decoders, models, normalizers, pre_tokenizers

from ownlm.errors import DataError
from ownlm.tokenization.assemble import Parts, assemble, model_of
from ownlm.tokenization.settings import Settings, numbered_lines
from ownlm.tokenization.tokenizer import Tokenizer


def from_wordpiece(file: Path, settings: Settings) -> Tokenizer:
    """The tokenizer of a vocab.txt; DataError names the line.

    tokenizer_config.json says whether capitals are folded (`do_lower_case`, true where it is
    silent), accents stripped (`strip_accents`, silent: with the capitals) and every Chinese
    character made a word (`tokenize_chinese_chars`, true where silent).
    """
    vocab = _read(file)
    unknown = settings.role("unk")
    name = unknown.content if unknown else "[UNK]"
    if name not in vocab:
        raise DataError(f"{name!r} is not in the vocabulary: no WordPiece", where=str(file))
    lower = settings.flag("do_lower_case", True)
    normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=settings.flag("tokenize_chinese_chars", True),
        strip_accents=settings.flag("strip_accents", lower),
        lowercase=lower,
    )
    parts = Parts(
        model=model_of(models.WordPiece, vocab=vocab, unk_token=name),
        normalizer=normalizer,
        pre_tokenizer=pre_tokenizers.BertPreTokenizer(),
        decoder=decoders.WordPiece(prefix="##"),
    )
    return assemble(parts, replace(settings, kind=settings.kind or "bert"), str(file))


def _read(file: Path) -> dict[str, int]:
    vocab: dict[str, int] = {}
    for id, (where, token) in enumerate(numbered_lines(file)):
        if token in vocab:
            raise DataError(f"{token!r:.60} is also in line {vocab[token] + 1}", where=where)
        vocab[token] = id
    return vocab
