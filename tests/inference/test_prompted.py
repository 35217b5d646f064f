"""Tasks by prompting: what is read, which label is likeliest, what a written answer says."""

import copy
from typing import Any

import pytest
import torch

from ownlm.data.tasks.predictions import Classified, Estimate, Extract, Tagging, Writing
from ownlm.data.tasks.records import Answer, Labelled, Origin, Parallel, Question, Scored, Tagged
from ownlm.errors import ConfigError
from ownlm.inference.language_model import LM
from ownlm.inference.prompted import Prompted, first_number, nothings, tags_of
from ownlm.models.config import ModelConfig
from ownlm.models.load import build_model
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.templates import with_template
from ownlm.tokenization.train import train_tokenizer

HERE = Origin("here")


def labelled(text: str, *labels: str) -> Labelled:
    return Labelled(origin=HERE, text=text, labels=labels)


@pytest.fixture(scope="module")
def lm() -> LM:
    """A random model over bytes, whose logits are far from even."""
    tokenizer = train_tokenizer(["abc"], TokenizerConfig(kind="byte"))
    config = ModelConfig(vocab=tokenizer.vocab_size, dim=32, heads=2, layers=1, context=400)
    model = build_model(config, seed=1)
    with torch.no_grad():
        model.embed.tokens.weight.mul_(8)
    return LM(model, tokenizer)


def test_what_is_read(lm: LM) -> None:
    task = Prompted(lm, "classify", ("spam", "ham"), [labelled("win a boat", "spam")])
    assert task.prompt(labelled("see you")) == (
        "Which of these labels does the text have: spam, ham? Answer with the label.\n\n"
        "Text: win a boat\nAnswer: spam\n\n"
        "Text: see you\nAnswer:"
    )
    chatty = LM(build_model(lm.model.config | {"vocab_size": 300}, seed=1),
                with_template(lm.tokenizer))  # fmt: skip
    turns: Any = Prompted(chatty, "classify", ("spam", "ham"), task.examples).prompt(labelled("a"))
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user"]
    assert turns[2]["content"] == "spam"


def by_hand(task: Prompted, record: Labelled) -> torch.Tensor:
    """(C,): logarithms of the labels' shares, each label read alone behind the whole prompt."""
    scores = []
    for label in task.labels:
        before = task.lm.prompt_ids(task.prompt(record))
        said = task.lm.tokenizer.encode(" " + label)
        with torch.no_grad():
            logs = task.lm.model(torch.tensor([[*before, *said]])).logits[0].log_softmax(-1)
        scores.append(sum(logs[len(before) - 1 + n, id].item() for n, id in enumerate(said)))
    return torch.tensor(scores).log_softmax(0)


def test_the_likeliest_label_by_hand(lm: LM) -> None:
    """Read beside longer and shorter ones, with labels of unlike lengths; of what is said of
    texts that say nothing the mean is taken off."""
    task = Prompted(lm, "classify", ("spam", "a", "other"))
    record = labelled("see you at the harbour")
    found = task.predict([labelled("ho " * 40), record, labelled("a")])[1]
    assert isinstance(found, Classified)
    usual = torch.stack([by_hand(task, labelled(text)) for text in ("N/A", "", "[MASK]")]).mean(0)
    expected = (by_hand(task, record) - usual).softmax(0)
    assert list(found.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-4)
    assert found.labels == (task.labels[int(expected.argmax())],)
    plain = by_hand(task, record).softmax(0)  # the controls: what is usual matters, and the text
    assert list(found.probabilities.values()) != pytest.approx(plain.tolist(), rel=1e-2)
    (other,) = task.predict([labelled("another text")])
    assert isinstance(other, Classified)
    assert list(other.probabilities.values()) != pytest.approx(expected.tolist(), rel=1e-2)


def test_of_pairs_both_texts_say_nothing() -> None:
    record = Labelled(origin=HERE, text="a", pair="b", labels=("x",))
    made = [(one.text, one.pair) for one in nothings([record])]
    assert made == [("N/A", "N/A"), ("", ""), ("[MASK]", "[MASK]")]
    assert nothings([]) == []


def test_what_is_too_long_loses_its_beginning(lm: LM) -> None:
    task = Prompted(lm, "classify", ("spam", "ham"))
    (found,) = task.predict([labelled("boat " * 400)])
    assert isinstance(found, Classified)
    assert sum(found.probabilities.values()) == pytest.approx(1)


def test_written_answers_are_read(lm: LM) -> None:
    written = Writing(" 3.5 of 5\nand more", complete=True)
    scored = Scored(origin=HERE, text="a", score=1.0)
    task = Prompted(lm, "regress", (), [scored])
    assert task.read(written, scored) == Estimate(3.5)
    assert task.read(Writing("none", complete=True), scored) == Estimate(1.0)
    asked = Question(origin=HERE, context="A boat in Oslo", question="?", answers=())
    assert task.read(Writing("oslo", complete=True), asked) == Extract("oslo", 10)
    tagged = Tagged(origin=HERE, words=("Ada", "sailed"), tags=())
    tags = Prompted(lm, "tag", ("B-person", "O")).read(Writing("Ada/B-person x", True), tagged)
    assert tags == Tagging(("B-person", "O"))
    pair = Parallel(origin=HERE, source="a", target="b")
    assert task.read(written, pair) == Writing("3.5 of 5", complete=True)
    assert first_number("about -2", 0.0) == -2
    assert tags_of("", ["a"], ["X", "Y"]) == ("Y",)


def test_all_kinds_answer(lm: LM) -> None:
    span = Question(origin=HERE, context="a b", question="?", answers=(Answer("b", 2),))
    for kind, record, said in (
        ("span", span, Extract),
        ("seq2seq", Parallel(origin=HERE, source="a", target="b"), Writing),
        ("tag", Tagged(origin=HERE, words=("a",), tags=("O",)), Tagging),
    ):
        (found,) = Prompted(lm, kind, ("O",), [record]).predict([record])
        assert isinstance(found, said)
    with pytest.raises(ConfigError, match="cannot be done by prompting"):
        Prompted(lm, "embed", ())


def test_logits_are_float32_whatever_the_format_is(lm: LM) -> None:
    """Far from zero numbers in bfloat16 lie so far apart that labels come out even."""
    model = copy.deepcopy(lm.model).bfloat16()
    task = Prompted(LM(model, lm.tokenizer), "classify", ("spam", "ham"))
    records = [labelled("boat " * n) for n in range(12)]
    found = task.scores(records)
    assert found.dtype == torch.float32 and len({*found[:, 0].tolist()}) == len(records)
    close = Prompted(lm, "classify", ("spam", "ham")).scores(records)
    assert torch.allclose(found, close, atol=0.1)


def test_labels_that_cannot_be_read(lm: LM) -> None:
    with pytest.raises(ConfigError, match="400 tokens, the model sees 400"):
        Prompted(lm, "classify", ("a", "b" * 399)).predict([labelled("a")])
    chatty = LM(build_model(lm.model.config | {"vocab_size": 300}, seed=1),
                with_template(lm.tokenizer))  # fmt: skip
    with pytest.raises(ConfigError, match="has no tokens"):
        Prompted(chatty, "classify", ("a", "")).predict([labelled("a")])
