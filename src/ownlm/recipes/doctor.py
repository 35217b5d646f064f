"""What `ownlm doctor` examines: a run's own model, tokenizer and text, a few sequences of it."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from ownlm import files, runtime
from ownlm.data.config import DataConfig
from ownlm.data.corpus import Corpus
from ownlm.data.document import SIDES, Document
from ownlm.data.loader import Windows
from ownlm.data.prepare import prepare_all
from ownlm.data.shards import PreparedData, is_prepared, open_prepared
from ownlm.errors import OwnlmError
from ownlm.evaluation.doctor import Subject
from ownlm.models.config import ModelConfig
from ownlm.recipes.config import RunConfig
from ownlm.recipes.demo import write_corpus
from ownlm.recipes.derive import derived
from ownlm.recipes.mixed import corpora
from ownlm.recipes.needs import require_held
from ownlm.recipes.pretrain import saver
from ownlm.recipes.task import fresh_model, objective_of, with_objective, writes
from ownlm.tokenization.load import load_tokenizer
from ownlm.tokenization.tokenizer import Tokenizer

SAMPLE_BYTES = 1 << 20
"""Of raw text, from its beginning: enough for a few sequences and a tokenizer."""

PAIRED = {"text_field": "", "source_field": "source", "target_field": "target", "target_path": ""}
"""How the pairs of a sample are read again."""
TRIED, TRIED_CHARACTERS = 64, 2_000
"""Texts on which the tokenizer is tried, and the most of each."""


def subject(config: RunConfig, folder: Path, *, reduce: bool = False) -> Subject:
    """The parts of the run that `config` describes, made ready in the scratch `folder`.

    Without data the built-in text stands in. `reduce` shrinks the model, which keeps the
    family and the kinds of layers. Raises what a run would raise.
    """
    config = with_objective(config)
    data, texts = material(config, folder)
    tokenizer = load_tokenizer(data.tokenizer_folder)
    whole = data.train.text_bytes + data.validation.text_bytes < SAMPLE_BYTES  # all of the text
    objective = objective_of(config, tokenizer)
    window = objective.window(config.model.context)
    if whole and data.holds in ("text", "codes"):
        Windows(data.train, window, config.train.seed)
    if reduce:
        config = config.with_values({"model": reduced(config.model)})
    steps = config.train.steps or 1
    config = config.with_values({"train": {"steps": steps}, "schedule": {"warmup": 0}})
    config = derived(config, tokenizer.vocab_size, data.train.tokens, window)
    device = runtime.pick_device(config.device)
    return Subject(
        make_model=lambda: fresh_model(config).to(device),
        vocab=config.model.vocab,
        writes=writes(config),
        context=config.model.context,
        save_model=saver(tokenizer),
        tokenizer=tokenizer,
        lossless=tokenizer.unk_id is None and not config.tokenizer.lowercase,
        texts=texts or _decoded(data, tokenizer),
        objective=objective,
        stream=data.train,
        train=config.train,
        optimizer=config.optimizer,
        schedule=config.schedule,
    )


def reduced(model: ModelConfig) -> dict[str, int]:
    """A model of at most two narrow layers, with the ratio of its query to its key heads."""
    heads = min(model.heads, 4)
    groups = max(1, model.heads // (model.kv_heads or model.heads))
    width = min(model.head_dim or model.dim // model.heads, 32)
    return {
        "layers": min(model.layers, 2),
        "heads": heads,
        "kv_heads": max(1, heads // groups) if heads % groups == 0 else heads,
        "dim": heads * width,
        "head_dim": width if model.head_dim else 0,
        "hidden": 0,
        "context": min(model.context, 128),
    }


def material(config: RunConfig, folder: Path) -> tuple[PreparedData, list[str]]:
    """Prepared data as it is; or the beginning of raw text, prepared, and some of its texts."""
    if config.data.path and is_prepared(Path(config.data.path)):
        data = open_prepared(Path(config.data.path))
        require_held(config, data)
        return data, []
    texts: list[str] = []
    samples, read = {}, {}
    for number, (name, part) in enumerate(corpora(config).items()):
        path = part.path or str(write_corpus(folder / "corpus").path)
        pieces = list(_beginning(Corpus(path, part)))
        sample = folder / f"sample-{number}.jsonl"
        samples[name], read[str(sample)] = _sampled(part, pieces, sample), path
        texts += [side for piece in pieces[:TRIED] for side in piece.text.split(SIDES)]
    with _named(read):
        data = prepare_all(samples, folder / "data", config.tokenizer)
    return data, [text[:TRIED_CHARACTERS] for text in texts[:TRIED]]


@contextlib.contextmanager
def _named(read: dict[str, str]) -> Iterator[None]:
    """Errors about a sample name the user's file; a line of the sample is not one of the file."""
    try:
        yield
    except OwnlmError as error:
        error.where = next((path for at, path in read.items() if error.where.startswith(at)),
                           error.where)  # fmt: skip
        raise


def _sampled(config: DataConfig, pieces: list[Document], path: Path) -> DataConfig:
    """Write some documents to `path`; how they are read again."""
    lines = (json.dumps(_fields(piece), ensure_ascii=False) + "\n" for piece in pieces)
    files.write_text(path, "".join(lines))
    values = {"path": str(path), "text_field": "text", "files": "", "split": "auto"}
    values |= {"codes": "code"} if config.codes else {}
    return config.with_values(values | (PAIRED if config.pairs else {}))


def _beginning(corpus: Corpus) -> Iterator[Document]:
    """The first documents, as much of each control code."""
    codes = max(1, len(corpus.report.codes))
    room = SAMPLE_BYTES // codes
    sizes: Counter[str] = Counter()
    for piece in corpus:
        if sizes[piece.code] < room:
            yield piece
            sizes[piece.code] += len(piece.text.encode("utf-8"))
        elif all(size >= room for size in sizes.values()) and len(sizes) >= codes:
            return


def _fields(piece: Document) -> dict[str, str]:
    if SIDES in piece.text:
        return dict(zip(("source", "target"), piece.text.split(SIDES)))
    return {"text": piece.text} | ({"code": piece.code} if piece.code else {})


def _decoded(data: PreparedData, tokenizer: Tokenizer) -> list[str]:
    """Stretches of prepared text, read back from its tokens."""
    stream = data.train
    length = min(stream.tokens, TRIED_CHARACTERS // 4)
    begins = range(0, stream.tokens - length + 1, length)[:TRIED]
    return [tokenizer.decode(row.tolist()) for row in stream.gather(list(begins), length)]
