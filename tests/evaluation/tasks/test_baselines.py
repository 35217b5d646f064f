"""Baselines: right on what they can know, sound in form, and as good as measured on real data."""

from pathlib import Path
from typing import Any

import pytest

from ownlm.data.tasks.config import TaskDataConfig
from ownlm.data.tasks.load import load_task
from ownlm.evaluation.tasks.baselines import baselines
from ownlm.evaluation.tasks.judge import judge
from ownlm.evaluation.tasks.sentences import beginning, sentences


def test_a_label_by_its_words_against_the_most_frequent_one(make: Any) -> None:
    pytest.importorskip("sklearn")
    good = [make.labelled("pos", text=f"a fine film, number {n}") for n in range(12)]
    bad = [make.labelled("neg", text=f"a dull film, number {n}") for n in range(8)]
    test = [make.labelled("neg", text="dull"), make.labelled("pos", text="fine")]
    found = baselines("classify", good + bad, test, ("neg", "pos"))
    assert list(found) == ["majority class", "bag of words"]
    assert [one.labels for one in found["majority class"]] == [("pos",), ("pos",)]
    assert found["majority class"][0].probabilities == {"neg": 0.4, "pos": 0.6}
    assert [one.labels for one in found["bag of words"]] == [("neg",), ("pos",)]
    assert sum(found["bag of words"][0].probabilities.values()) == pytest.approx(1)


def test_chinese_is_read_by_characters(make: Any) -> None:
    pytest.importorskip("sklearn")
    train = [make.labelled("pos", text=f"这本书很好看{n}") for n in range(8)]
    train += [make.labelled("neg", text=f"这本书不行差{n}") for n in range(8)]
    test = [make.labelled("neg", text="太差了"), make.labelled("pos", text="真好看")]
    found = baselines("classify", train, test)["bag of words"]
    assert [one.labels for one in found] == [("neg",), ("pos",)]


def test_several_labels_are_learned_one_by_one(make: Any) -> None:
    pytest.importorskip("sklearn")
    kinds = {"red car": ("car", "red"), "red hat": ("red",), "blue car": ("car",), "hat": ()}
    train = [make.labelled(*k, text=t) for t, k in kinds.items() for _ in range(6)]
    test = [make.labelled("car", "red", text="car, red"), make.labelled(text="some hat")]
    found = baselines("classify", train, test)
    assert [one.labels for one in found["bag of words"]] == [("car", "red"), ()]
    assert baselines("classify", train[:6], test)["majority class"][0].labels == ("car", "red")


def test_one_label_alone_is_not_regressed(make: Any) -> None:
    train = [make.labelled("a") for _ in range(4)]
    assert list(baselines("classify", train, train)) == ["majority class"]


def test_pairs_are_compared(make: Any) -> None:
    """Only what both texts share tells the label."""
    pytest.importorskip("sklearn")
    names = ["ann", "bob", "cid", "dora", "eve", "fred"]
    train = [
        make.labelled("same" if a == b else "other", text=f"{a} runs", pair=f"{b} runs")
        for a in names for b in names
    ] + [make.labelled("same", text=f"{a} sits", pair=f"{a} sits") for a in names * 4]  # fmt: skip
    test = [make.labelled("same", text="gus sits", pair="gus sits")]
    assert baselines("pair", train, test)["bag of words"][0].labels == ("same",)


def test_a_score_by_how_much_two_texts_share(make: Any) -> None:
    texts = ["a b c d", "a b c x", "a b x y", "a x y z", "v x y z"]
    train = [make.scored(5.0 - n, text="a b c d", pair=other) for n, other in enumerate(texts)]
    found = baselines("regress", train, train)
    assert {one.score for one in found["mean"]} == {3.0}
    guessed = [one.score for one in found["word overlap"]]
    assert guessed == sorted(guessed, reverse=True) and guessed[0] > 4 > 2 > guessed[-1]
    assert all(1 <= one <= 5 for one in guessed)


def test_a_score_of_single_texts_is_learned_from_words(make: Any) -> None:
    pytest.importorskip("sklearn")
    train = [make.scored(float(n % 2), text=("bad", "good")[n % 2] + f" x{n}") for n in range(20)]
    test = [make.scored(1.0, text="good"), make.scored(0.0, text="bad")]
    high, low = baselines("regress", train, test)["bag of words"]
    assert high.score > 0.6 > 0.4 > low.score


def test_the_usual_tag_of_each_word_with_chunks_mended(make: Any) -> None:
    train = [make.tagged(["B-LOC", "I-LOC", "O"], ["New", "York", "is"]) for _ in range(3)]
    test = [make.tagged(["O", "B-LOC", "I-LOC"], ["is", "new", "York"]), make.tagged(["O"], ["?"])]
    found = baselines("tag", train, test)
    assert found["most frequent tag of each word"][0].tags == ("O", "B-LOC", "I-LOC")
    assert found["most frequent tag"][0].tags == ("O", "O", "O")
    alone = [make.tagged(["O", "O"], ["York", "York"])]
    assert baselines("tag", train, alone)["most frequent tag of each word"][0].tags == (
        "B-LOC",
        "I-LOC",
    )


def test_roles_depend_on_the_side_of_the_predicate(make: Any) -> None:
    train = [
        make.tagged(["ARG0", "V", "ARG1"], ["dogs", "bite", "dogs"], predicate=1) for _ in range(3)
    ]
    test = [make.tagged(["ARG0", "V", "ARG1"], ["dogs", "bite", "dogs"], predicate=1)]
    found = baselines("tag", train, test)["most frequent tag of each word"]
    assert found[0].tags == ("ARG0", "V", "ARG1")


def test_an_answer_is_the_sentence_most_like_the_question(make: Any) -> None:
    context = 'It cost 28.5 pounds. "The tower fell in 1902." Nobody was hurt!'
    asked = make.question("1902", context=context, question="When did the tower fall?")
    found = baselines("span", [make.question("x")], [asked])
    assert list(found) == ["best sentence"]
    (one,) = found["best sentence"]
    assert one.text == '"The tower fell in 1902."'
    assert context[one.start : one.start + len(one.text)] == one.text
    both = baselines("span", [make.question("x"), make.question()], [asked])
    assert both["no answer"][0].text == ""


def test_sentences_of_two_scripts() -> None:
    assert [text for _, text in sentences("他走了。我没走！好\nA b. C")] == [
        "他走了。", "我没走！", "好", "A b.", "C",
    ]  # fmt: skip


def test_a_translation_is_copied_and_a_summary_begun(make: Any) -> None:
    train = [make.parallel("long " * 20, "short text") for _ in range(3)]
    found = baselines("seq2seq", train, train)
    assert list(found) == ["lead", "copy"] and found["lead"][0].text == "long long"
    equal = [make.parallel("ein Hund", "a dog")]
    assert list(baselines("seq2seq", equal, equal)) == ["copy"]
    assert beginning("没有空格的文字", 3) == "没有空"


def test_chats_have_none(make: Any) -> None:
    assert baselines("chat", [make.labelled("a")], [make.labelled("a")]) == {}


@pytest.mark.slow
def test_on_real_messages_words_go_far(shared_data: Path) -> None:
    """Logistic regression on TF-IDF reaches 98 % on SMS spam; the majority class is 87 %."""
    pytest.importorskip("sklearn")
    path = str(shared_data / "classify" / "SMSSpamCollection.tsv")
    data = load_task(TaskDataConfig(path=path, test=0.2), "classify")
    found = baselines("classify", data.train, data.test, data.labels)
    judged = {name: judge("classify", data.test, one) for name, one in found.items()}
    assert 0.85 < judged["majority class"].figures["accuracy"].value < 0.88
    assert 0.97 < judged["bag of words"].figures["accuracy"].value < 0.99
    assert judged["bag of words"].classes["spam"].f1.value > 0.9


@pytest.mark.slow
def test_on_real_text_of_other_tasks(shared_data: Path) -> None:
    """Each is above what knows nothing, by more than chance."""
    pairs = TaskDataConfig(path=str(shared_data / "pairs" / "sick2014_test.txt"))
    data = load_task(pairs, "regress")
    found = baselines("regress", data.train, data.test)["word overlap"]
    assert judge("regress", data.test, found).figures["pearson"].low > 0.5
    words = TaskDataConfig(path=str(shared_data / "tag" / "zh_gsdsimp-ud-dev.conllu.gz"))
    data = load_task(words, "tag")
    tagged = baselines("tag", data.train, data.test)
    one, other = (judge("tag", data.test, predictions) for predictions in tagged.values())
    assert one.figures["accuracy"].low > other.figures["accuracy"].high + 0.3
    articles = TaskDataConfig(path=str(shared_data / "qa" / "xquad.en.json"), test=0.2)
    data = load_task(articles, "span")
    answers = baselines("span", data.train, data.test)["best sentence"]
    assert judge("span", data.test, answers).figures["f1"].low > 0.1
