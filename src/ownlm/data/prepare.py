"""From raw text to prepared data: scan, train a tokenizer if asked, split, tokenise, publish."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ownlm import files
from ownlm.data.config import DataConfig
from ownlm.data.corpus import Corpus
from ownlm.data.document import SIDES, Document, batches
from ownlm.data.progress import Meter, Progress
from ownlm.data.report import MOST_CODES, CorpusReport, merged
from ownlm.data.shards import (
    FACTS,
    FORMAT,
    REPORT,
    SPLITS,
    TOKENIZER,
    PreparedData,
    SplitWriter,
    id_type,
    is_prepared,
    open_prepared,
)
from ownlm.data.split import Split
from ownlm.errors import ConfigError, DataError
from ownlm.tokenization.codes import code_name
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.tokenizer import Tokenizer
from ownlm.tokenization.train import settled, train_tokenizer

_PROBE = 1 << 16  # characters from which the room for the shards is estimated


def prepare(
    config: DataConfig,
    out: Path,
    tokenizer: Tokenizer | TokenizerConfig,
    progress: Callable[[Progress], None] | None = None,
) -> PreparedData:
    """Read the corpus that `config` names, tokenise it, and publish folder `out` in one step.

    A TokenizerConfig trains a tokenizer on the text for training first. Equal text and
    configuration give equal bytes, also after a run that was killed. Prepared data that is
    already at `out` is replaced once the new one is complete.

    Raises DataError for text that cannot be used, DiskError, and ConfigError when `out` holds
    something else.
    """
    return prepare_all({"": config}, out, tokenizer, progress)


def prepare_all(
    configs: Mapping[str, DataConfig],
    out: Path,
    tokenizer: Tokenizer | TokenizerConfig,
    progress: Callable[[Progress], None] | None = None,
) -> PreparedData:
    """The same of several corpora, by name: one after another, with one tokenizer for all."""
    _require_own(out)
    files.require_writable(out.parent)
    if isinstance(tokenizer, TokenizerConfig):
        tokenizer = settled(tokenizer) or tokenizer
    parts = {name: survey(config, progress) for name, config in configs.items()}
    report = merged([corpus.report for corpus, _ in parts.values()])
    if isinstance(tokenizer, TokenizerConfig):
        tokenizer = learn_tokenizer([*parts.values()], tokenizer, progress)
    for code in report.codes:
        tokenizer.code(code)  # refused where it has no such token
    _require_space(out, next(iter(next(iter(parts.values()))[0])), report, tokenizer)
    made = tokenizer

    def fill(folder: Path) -> None:
        meter = Meter("tokenising", report.bytes, progress)
        facts = _write_splits(folder, parts, made, meter)
        meter.finish()
        made.save(folder / TOKENIZER)
        files.write_json(folder / REPORT, report.as_dict())
        files.write_json(folder / FACTS, facts)

    files.publish_folder(out, fill)
    return open_prepared(out)


def survey(
    config: DataConfig, progress: Callable[[Progress], None] | None = None
) -> tuple[Corpus, Split]:
    """Scan the corpus that `config` names and settle how it is split."""
    corpus = Corpus(config.path, config)
    meter = Meter("reading", corpus.size, progress)
    report = corpus.scan(meter.at)
    meter.finish()
    if len(report.codes) > MOST_CODES:
        raise ConfigError(
            f"more than {MOST_CODES:,} different control codes, such as {min(report.codes)!r}",
            where="data.codes",
            next_command="name a field of few values: --data.codes",
        )
    return corpus, Split.choose(config, report)


def learn_tokenizer(
    parts: Sequence[tuple[Corpus, Split]],
    config: TokenizerConfig,
    progress: Callable[[Progress], None] | None = None,
) -> Tokenizer:
    """Train a tokenizer on the text for training, or load the one that `config` names."""
    report = merged([corpus.report for corpus, _ in parts])
    names = tuple(map(code_name, sorted(report.codes)))
    config = config.with_values({"controls": (*config.controls, *names)})
    meter = Meter("training the tokenizer", report.bytes, progress)
    texts = (text for corpus, split in parts for text in _training_texts(corpus, split, meter))
    made = train_tokenizer(texts, config)
    meter.finish()
    return made


def _training_texts(corpus: Corpus, split: Split, meter: Meter) -> Iterator[str]:
    for piece in corpus:
        for part in split.parts(piece):
            if part.split == "train":
                yield from sides(part.text, corpus.config)
        meter.add(len(piece.text.encode("utf-8")))


def _write_splits(
    folder: Path, parts: Mapping[str, tuple[Corpus, Split]], tokenizer: Tokenizer, meter: Meter
) -> dict[str, object]:
    corpus, split = next(iter(parts.values()))
    kind, shard_tokens = id_type(tokenizer.vocab_size), corpus.config.shard_tokens
    writers = {
        name: SplitWriter(folder, name, kind, shard_tokens, tokenizer.eos_id) for name in SPLITS
    }
    facts: dict[str, object] = {
        "format": FORMAT,
        "vocab_size": tokenizer.vocab_size,
        "eos_id": tokenizer.eos_id,
        "tokenizer_digest": tokenizer.digest,
        "split": split.kind,
        "validation_share": split.share,
    }
    ends = []
    for name, (corpus, split) in parts.items():
        before = {side: writer.text_bytes for side, writer in writers.items()}
        _write_corpus(corpus, split, writers, tokenizer, meter)
        written = {side: writer.text_bytes - before[side] for side, writer in writers.items()}
        _require_complete(written, corpus, split)
        end = {side: writer.tokens + (writer.documents > 0) for side, writer in writers.items()}
        ends.append({"name": name, "holds": holds(corpus.config), **end})
    if len(ends) > 1:
        facts["parts"] = ends
    elif (kept := ends[0]["holds"]) != "text":
        facts["holds"] = kept
    return facts | {name: writer.finish() for name, writer in writers.items()}


def _write_corpus(
    corpus: Corpus, split: Split, writers: dict[str, SplitWriter], tokenizer: Tokenizer,
    meter: Meter,
) -> None:  # fmt: skip
    for batch in batches(part for piece in corpus for part in split.parts(piece)):
        texts = [sides(part.text, corpus.config) for part in batch]
        encoded = iter(tokenizer.encode_batch([side for both in texts for side in both]))
        for part, both in zip(batch, texts):
            writer = writers[part.split]
            if part.begins:
                writer.start_document(tokenizer.code(part.code) if part.code else None)
            ids = [next(encoded) for _ in both]
            size = len(part.text.encode("utf-8"))
            writer.add(joined(ids, tokenizer.eos_id), size)
            meter.add(size)


def holds(config: DataConfig) -> str:
    """What documents that are read in this way are."""
    return "pairs" if config.pairs else "codes" if config.codes else "text"


def sides(text: str, config: DataConfig) -> list[str]:
    """What is tokenised by itself: source and target of a pair, or the text."""
    return text.split(SIDES) if config.pairs else [text]


def joined(parts: list[list[int]], end: int) -> list[int]:
    """The ids of all parts, with the end of text between them."""
    ids = list(parts[0])
    for part in parts[1:]:
        ids += [end, *part]
    return ids


def _require_complete(written: Mapping[str, int], corpus: Corpus, split: Split) -> None:
    """Every byte that was scanned was written, and both splits got some of it."""
    total, pairs = sum(written.values()), corpus.config.pairs
    assert total == corpus.report.bytes, f"{total} bytes written of {corpus.report.bytes}"
    for name in SPLITS if split.share else ("train",):
        if not written[name]:
            raise DataError(
                f"no text fell to {name}: {corpus.report.documents} documents, split by "
                f"{split.kind} with a share of {split.share} for validation",
                where=corpus.path,
                next_command="choose another --data.validation"
                + (", or --data.split tail" if split.kind == "documents" and not pairs else ""),
            )


def _require_own(out: Path) -> None:
    """Never replace a folder that was not made here."""
    if out.exists() and not is_prepared(out) and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(
            "exists and is not prepared data; it will not be replaced",
            where=str(out),
            next_command="name a new folder with --out",
        )


def _require_space(out: Path, first: Document, report: CorpusReport, tokenizer: Tokenizer) -> None:
    """Refuse before the work when the shards will not fit, judged by the first piece of text."""
    probe = first.text[:_PROBE]
    tokens_a_byte = len(tokenizer.encode(probe)) / len(probe.encode("utf-8"))
    width = 2 if id_type(tokenizer.vocab_size) == "<u2" else 4
    shards = (report.bytes * tokens_a_byte + report.documents * 2) * width
    files.require_space(out.parent, int(shards) + report.documents * 8)
