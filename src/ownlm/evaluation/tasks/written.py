"""Texts that were written: BLEU and chrF by sacrebleu, ROUGE by rouge-score.

BLEU (Papineni 2002) and chrF (Popović 2015) are made from counts over all texts, so intervals
come from the counts of each; ROUGE (Lin 2004) is a mean over texts. Words are taken as the
language has them: sacrebleu's `zh` for Chinese, characters for other scripts without spaces and
for "character BLEU"; ROUGE as published for English, else with `words.words`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ownlm.data.tasks.predictions import Writing
from ownlm.data.tasks.records import Conversation, Parallel, Record
from ownlm.errors import ConfigError
from ownlm.evaluation.tasks.case import Case
from ownlm.evaluation.tasks.figures import Draws, Figure, Floats, figure, mean
from ownlm.evaluation.tasks.judgement import MEASURES, MISTAKES, Judgement, Mistake, Outcomes
from ownlm.evaluation.tasks.labelled import lengths
from ownlm.evaluation.tasks.words import english, spaceless, words

ROUGES = ("rouge1", "rouge2", "rougeL")
SHORT = 0.5
"""A target of at most this share of its source is a summary: there, ROUGE is looked at first."""


def judge_written(case: Case) -> Judgement:
    """Translations, summaries, and answers of an assistant."""
    due = [target(one) for one in case.records]
    said = [one.text for one in case.predictions if isinstance(one, Writing)]
    assert len(due) == len(said)
    whole = [one.complete for one in case.predictions if isinstance(one, Writing)]
    bleu, notes, quality = bleus(said, due, case.draws)
    rouge, notes["ROUGE"] = rouges(said, due, case.draws)
    figures = (rouge | bleu) if is_summary(case.records) else (bleu | rouge)
    same = np.array([a.split() == b.split() for a, b in zip(said, due, strict=True)], np.float64)
    complete = {"complete": mean(np.array(whole, np.float64), case.draws)}
    if case.kind == "chat":
        figures = complete | figures
    return Judgement(
        kind=case.kind,
        records=len(due),
        drawn=case.draws.unit,
        figures=figures | complete,
        mistakes=_mistakes(case, due, said, quality),
        wrong=int((same == 0).sum()),
        outcomes=Outcomes(lengths(case), quality, "chrF of the text"),
        notes=notes,
    )


def target(record: Record) -> str:
    """What should have been written."""
    if isinstance(record, Parallel):
        return record.target
    assert isinstance(record, Conversation)
    return record.messages[-1].content


def is_summary(records: Sequence[Record]) -> bool:
    """Whether what is written is much shorter than what is read."""
    pairs = [one for one in records if isinstance(one, Parallel)]
    written = sum(len(one.target) for one in pairs)
    return bool(pairs) and written <= SHORT * sum(len(one.source) for one in pairs)


def bleus(
    said: Sequence[str], due: Sequence[str], draws: Draws
) -> tuple[dict[str, Figure], dict[str, str], Floats]:
    """BLEU, character BLEU and chrF, 0 to 100, the signature of each; chrF of each text, 0 to 1.

    The two inner methods are those that sacrebleu's own significance tests call: counts of
    every text, and a score from sums of them.
    """
    figures, signatures, rows = {}, {}, []
    for name, metric in metrics(chinese=spaceless(due), kana=kana(due)).items():
        rows = metric._extract_corpus_statistics(list(said), [list(due)])
        table = np.array(rows, np.float64)
        sums = np.concatenate([table.sum(axis=0, keepdims=True), draws.sums(table)])
        whole = np.rint(sums).astype(np.int64).tolist()
        value, *scores = (float(metric._compute_score_from_stats(row).score) for row in whole)
        figures[name] = figure(value, np.array(scores))
        signatures[MEASURES[name].title] = str(metric.get_signature())
    alone = [metric._compute_score_from_stats(list(row)).score / 100 for row in rows]
    return figures, signatures, np.array(alone, np.float64)


def metrics(chinese: bool, kana: bool) -> dict[str, Any]:
    """sacrebleu's, with the words of the language."""
    library = _sacrebleu()
    tokenize = "13a" if not chinese else ("char" if kana else "zh")
    return {
        "bleu": library.BLEU(tokenize=tokenize),
        "character_bleu": library.BLEU(tokenize="char"),
        "chrf": library.CHRF(),
    }


def kana(texts: Sequence[str]) -> bool:
    """Whether they hold Japanese or another script that sacrebleu's `zh` does not part."""
    return any("\u3040" <= one <= "\u30ff" or "\u0e00" <= one <= "\u17ff"
               for text in texts for one in text)  # fmt: skip


def rouges(said: Sequence[str], due: Sequence[str], draws: Draws) -> tuple[dict[str, Figure], str]:
    """ROUGE-1, -2 and -L as F1, and what counts as a word."""
    plain = english(due)
    scorer = _rouge(plain)
    table = np.array([[one.fmeasure for one in map(scorer.score(b, a).get, ROUGES)]
                      for a, b in zip(said, due, strict=True)])  # fmt: skip
    note = "F1; " + ("Porter stems of English words" if plain else "words, lower case")
    if not plain and spaceless(due):
        note = "F1; characters, and words of other scripts"
    return {name: mean(table[:, at], draws) for at, name in enumerate(ROUGES)}, note


class _Words:
    """What rouge-score asks for its words."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


def _rouge(plain: bool) -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError:
        raise missing("rouge-score", "ROUGE") from None
    return RougeScorer(ROUGES, use_stemmer=plain, tokenizer=None if plain else _Words())


def _sacrebleu() -> Any:
    try:
        import sacrebleu
    except ImportError:
        raise missing("sacrebleu", "BLEU and chrF") from None
    return sacrebleu


def missing(library: str, what: str) -> ConfigError:
    """That a library of the extra `eval` is not installed."""
    return ConfigError(
        f"{library} is not installed; {what} cannot be had without",
        next_command='pip install "ownlm[eval]"',
    )


def _mistakes(
    case: Case, due: Sequence[str], said: Sequence[str], quality: Floats
) -> tuple[Mistake, ...]:
    """The lowest chrF first."""
    worst = [at for at in np.argsort(quality, kind="stable")[:MISTAKES] if quality[at] < 1]
    return tuple(
        Mistake(case.records[at], due[at], said[at], None, f"chrF {100 * quality[at]:.1f}")
        for at in worst
    )
