"""The checks of `ownlm doctor`, carried out on the user's own model, tokenizer and text.

Each one proves on a few sequences what a long run relies on, and says by how much it holds.
The model is in float32, where rounding is small enough to tell a fault from it.
"""

import copy
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import nn

from ownlm.data.loader import Examples, Loader
from ownlm.data.shards import TokenStream
from ownlm.evaluation import learning, parity, roundtrip
from ownlm.evaluation.finding import Finding, broke, not_applicable
from ownlm.inference.language_model import LM
from ownlm.models.model import SingleStack
from ownlm.objectives.mixture import order
from ownlm.objectives.objective import Objective
from ownlm.tokenization.tokenizer import Tokenizer
from ownlm.training.config import OptimizerConfig, ScheduleConfig, TrainConfig

ROWS, LONGEST = 4, 256
"""Sequences a check works on, and the most tokens of each."""


@dataclass(frozen=True)
class Subject:
    """What is examined; the parts are those that a run would use."""

    make_model: Callable[[], nn.Module]
    """The same fresh model in float32 at each call."""
    vocab: int
    writes: bool
    """Whether the model writes text: caches and `ownlm.load` are for such."""
    context: int
    """Tokens it can see at once."""
    save_model: Callable[[nn.Module, Path], None]
    """Writes the model folder of a checkpoint."""
    tokenizer: Tokenizer
    lossless: bool
    """Whether the tokenizer is meant to give every text back."""
    texts: Sequence[str]
    objective: Objective
    stream: TokenStream
    train: TrainConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig

    @property
    def length(self) -> int:
        """Tokens of a sequence: what fills the context, unless that is long or the text is short.

        Room is left for the check of padding.
        """
        room = max(2, min(self.context, LONGEST) - parity.PADDING)
        text = (self.stream.tokens - 1) // (2 * ROWS)
        return max(2, min(self.objective.window(room), text))

    def loader(self, batch: int, seed: int, documents: bool, prefetch: bool = True) -> Loader:
        """The text as the objective wants it, in windows of `length`."""
        objective, length = self.objective, self.length
        return Loader(
            self.stream,
            length,
            batch,
            seed,
            documents,
            prefetch,
            objective.partners,
            order(objective, self.stream, length, seed),
        )


class Check(NamedTuple):
    """A name for the table, and what is done."""

    name: str
    run: Callable[[Subject, Path], Finding]


def examine(subject: Subject, progress: Callable[[str], None] | None = None) -> Iterator[Finding]:
    """All checks, one after another; one that breaks is a finding like the others."""
    for check in CHECKS:
        if progress:
            progress(check.name)
        with tempfile.TemporaryDirectory(prefix="ownlm-doctor-") as folder:
            try:
                yield check.run(subject, Path(folder))
            except Exception as error:  # noqa: BLE001, the other checks are still to be made
                yield broke(check.name, error)


def sequences(subject: Subject) -> Examples:
    """Text of the user, its documents as they lie."""
    return subject.loader(ROWS, 0, documents=True, prefetch=False).batch(0)


def pieces(subject: Subject) -> Examples:
    """The same text in documents of many lengths, where an objective learns from any."""
    rows = sequences(subject)
    whole = subject.objective.begins(subject.stream, subject.length) is not None
    return rows if whole else cut_up(rows)


def cut_up(rows: Examples) -> Examples:
    """The same tokens, as if row n held 4 n + 1 documents."""
    count, length = rows.tokens.shape
    pieces = 4 * np.arange(count)[:, None] + 1
    documents = (np.arange(length) * pieces // length + 1).astype(np.int32)
    return Examples(rows.tokens, documents, rows.sample_ids, rows.partners, rows.heads, rows.parts)


def in_one(objective: Objective) -> Objective:
    """The objective without segments: where these are cut depends on the length of a row, and no
    gradient goes through a memory."""
    if getattr(objective, "segments", 1) == 1:
        return objective
    whole = copy.copy(objective)
    whole.segments = 1  # type: ignore[attr-defined]
    return whole


def _round_trip(subject: Subject, folder: Path) -> Finding:
    if not subject.lossless:
        return not_applicable("tokenizer gives text back", "lossy by its configuration")
    return roundtrip.check_round_trip(subject.tokenizer, subject.texts)


def _controls(subject: Subject, folder: Path) -> Finding:
    return roundtrip.check_controls(subject.tokenizer)


def _start(subject: Subject, folder: Path) -> Finding:
    if not subject.objective.covers:
        return not_applicable("loss at the start is near ln V", "the loss is not of words alone")
    model = subject.make_model()
    return learning.check_start(model, subject.objective, sequences(subject), subject.vocab)


def _accumulation(subject: Subject, folder: Path) -> Finding:
    model, rows = parity.sharpened(subject.make_model()), pieces(subject)
    return parity.check_accumulation(model, subject.objective, rows)


def _packing(subject: Subject, folder: Path) -> Finding:
    model, rows = parity.sharpened(subject.make_model()), pieces(subject)
    return parity.check_packing(model, in_one(subject.objective), rows)


def _padding(subject: Subject, folder: Path) -> Finding:
    model, rows = parity.sharpened(subject.make_model()), pieces(subject)
    return parity.check_padding(model, in_one(subject.objective), rows)


def _cache(subject: Subject, folder: Path) -> Finding:
    if not subject.writes:
        return not_applicable("cached decoding = uncached", "this model does not write")
    model = parity.sharpened(subject.make_model())
    assert isinstance(model, SingleStack)
    return parity.check_cache(model, sequences(subject).tokens[0, :-1])


def _folder(subject: Subject, folder: Path) -> Finding:
    if not subject.writes:
        return not_applicable("saved model = loaded model", "covered by the exact resume")
    model = parity.sharpened(subject.make_model())
    assert isinstance(model, SingleStack)
    lm = LM(model, subject.tokenizer)
    return parity.check_folder(lm, sequences(subject).tokens[0, :-1], folder / "model")


def _overfitting(subject: Subject, folder: Path) -> Finding:
    model, rows = subject.make_model(), sequences(subject)[:2]
    return learning.check_overfitting(model, subject.objective, rows, subject.optimizer)


def _resume(subject: Subject, folder: Path) -> Finding:
    train = learning.rehearsed(subject.train)
    with subject.loader(train.batch, train.seed, train.documents) as loader:
        return learning.check_resume(
            learning.Rehearsal(
                make_model=subject.make_model,
                save_model=subject.save_model,
                objective=subject.objective,
                loader=loader,
                train=train,
                optimizer=subject.optimizer,
                schedule=subject.schedule.with_values({"warmup": 1}),
                folder=folder / "run",
            )
        )


CHECKS = (
    Check("tokenizer gives text back", _round_trip),
    Check("text cannot forge control tokens", _controls),
    Check("loss at the start is near ln V", _start),
    Check("accumulated gradients = full batch", _accumulation),
    Check("packed documents = separate documents", _packing),
    Check("padded rows = unpadded rows", _padding),
    Check("cached decoding = uncached", _cache),
    Check("saved model = loaded model", _folder),
    Check("a batch can be learned by heart", _overfitting),
    Check("resume is exact, bit for bit", _resume),
)


def timed(findings: Iterator[Finding]) -> Iterator[tuple[Finding, float]]:
    """Each finding with the seconds it took."""
    started = time.perf_counter()
    for finding in findings:
        yield finding, time.perf_counter() - started
        started = time.perf_counter()
