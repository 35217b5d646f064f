"""BLEU, chrF and ROUGE: the figures of their libraries, with the words of the language."""

import builtins
import math
from typing import Any

import numpy as np
import pytest

from ownlm.data.tasks.predictions import Writing
from ownlm.data.tasks.records import Conversation, Message, Origin
from ownlm.errors import ConfigError
from ownlm.evaluation.tasks.judge import judge, require
from ownlm.evaluation.tasks.words import english, spaceless, words

ENGLISH = [
    ("Der Hund bellt laut.", "The dog barks loudly.", "The dog is barking loudly."),
    ("Ich gehe heute nach Hause.", "I am going home today.", "I go home today, too."),
    ("Sie las die runners' Bücher.", "She read the runner's books.", "She was reading books."),
    ("Wir haben keine Zeit mehr.", "We have no time left.", "We have no time left."),
]
CHINESE = [
    ("Good morning.", "早上 好 。", "早上好。"),
    ("I am going home today.", "我今天回家。", "今天我要回家了。"),
    ("He reads GPT papers.", "他读 GPT 论文。", "他在读GPT的论文。"),
]


def judged(make: Any, texts: list[tuple[str, str, str]], **options: Any) -> Any:
    records = [make.parallel(source, target) for source, target, _ in texts]
    return judge("seq2seq", records, [Writing(said) for *_, said in texts], **options)


@pytest.mark.parametrize(("texts", "tokenize"), [(ENGLISH, "13a"), (CHINESE, "zh")])
def test_bleu_and_chrf_are_sacrebleus(make: Any, texts: Any, tokenize: str) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    found = judged(make, texts)
    said, due = [one[2] for one in texts], [[one[1] for one in texts]]
    for name, metric in (
        ("bleu", sacrebleu.BLEU(tokenize=tokenize)),
        ("character_bleu", sacrebleu.BLEU(tokenize="char")),
        ("chrf", sacrebleu.CHRF()),
    ):
        assert found.figures[name].value == pytest.approx(metric.corpus_score(said, due).score)
    assert f"tok:{tokenize}|" in found.notes["BLEU"]
    assert "tok:char|" in found.notes["character BLEU"]


def test_wrong_words_would_give_another_bleu() -> None:
    """The control: Chinese without its own words is one long word a sentence."""
    sacrebleu = pytest.importorskip("sacrebleu")
    said, due = [one[2] for one in CHINESE], [[one[1] for one in CHINESE]]
    right, wrong = (sacrebleu.BLEU(tokenize=t).corpus_score(said, due).score for t in ("zh", "13a"))
    assert right > 2 * wrong


def test_intervals_of_bleu_come_from_scores_of_resamples(make: Any) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    from ownlm.evaluation.tasks.figures import Draws

    texts = ENGLISH * 5
    found = judged(make, texts, resamples=10).figures["bleu"]
    records = [make.parallel(source, target) for source, target, _ in texts]
    metric = sacrebleu.BLEU()
    for number, times in enumerate(next(Draws(records, 10).weights())):
        at = np.repeat(np.arange(len(texts)), times.astype(int))
        said, due = [texts[n][2] for n in at], [[texts[n][1] for n in at]]
        assert found.resampled[number] == pytest.approx(metric.corpus_score(said, due).score)


def test_rouge_of_english_is_the_published_one(make: Any) -> None:
    scorer = pytest.importorskip("rouge_score.rouge_scorer")
    found = judged(make, ENGLISH)
    oracle = scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    scores = [oracle.score(due, said) for _, due, said in ENGLISH]
    for name in ("rouge1", "rouge2", "rougeL"):
        expected = np.mean([one[name].fmeasure for one in scores])
        assert found.figures[name].value == pytest.approx(expected)
    assert "Porter" in found.notes["ROUGE"]


def test_rouge_of_chinese_counts_characters(make: Any) -> None:
    """Two of three characters are shared: F1 2/3. rouge-score alone would find no word at all."""
    found = judged(make, [("a", "早上好", "早上坏")])
    assert found.figures["rouge1"].value == pytest.approx(2 / 3)
    assert found.figures["rouge2"].value == pytest.approx(1 / 2)
    assert "characters" in found.notes["ROUGE"]


def test_summaries_are_looked_at_by_rouge_and_translations_by_bleu(make: Any) -> None:
    assert judged(make, ENGLISH).headline == "bleu"
    long = [("word " * 40, due, said) for _, due, said in ENGLISH]
    assert judged(make, long).headline == "rouge1"


def test_answers_of_an_assistant(make: Any) -> None:
    turns = (Message("user", "Who are you?"), Message("assistant", "I am Ann."))
    records = [Conversation(origin=Origin("x", str(n)), messages=turns) for n in range(4)]
    said = [Writing("I am Ann.", n > 0) for n in range(4)]
    found = judge("chat", records, said, losses=[(2.0, 4), (1.0, 2), (6.0, 4), (0.0, 2)])
    assert found.headline == "complete" and found.figures["complete"].value == 0.75
    assert found.figures["perplexity"].value == pytest.approx(math.exp(9 / 12))
    assert found.wrong == 0 and not found.mistakes


def test_the_poorest_text_comes_first(make: Any) -> None:
    found = judged(make, ENGLISH)
    assert found.wrong == 3 and len(found.mistakes) == 3
    assert found.mistakes[0].measure < found.mistakes[1].measure


def test_what_is_missing_is_named_with_the_command(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] in ("sacrebleu", "rouge_score", "sklearn"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r'pip install "ownlm\[eval\]"'):
        judged(make, ENGLISH)


def test_a_missing_library_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    from ownlm.evaluation.tasks import judge as module

    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="scikit-learn is not installed"):
        require("classify")
    require("tag")


def test_words_of_many_scripts() -> None:
    assert words("Don't use GPT模型!") == ["don", "t", "use", "gpt", "模", "型"]
    assert words("Grüße, наш мир") == ["grüße", "наш", "мир"]
    assert words("हिन्दी है") == ["हिन्दी", "है"]
    assert spaceless(["今天天气 very"]) and not spaceless(["mostly English 好"])
    assert english(["plain text, 3 words"]) and not english(["Grüße"])
