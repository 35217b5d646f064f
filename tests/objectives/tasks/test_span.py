"""Answers in a context: offsets, windows, the null answer, and as the reference learns them."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from examples import bpe, small_bpe, wordpiece
from hypothesis import given, strategies
from task_cases import HERE, RNG, apart, config_of, learned, made, questions, sentence

from ownlm.data.encoded import Encoded, examples
from ownlm.data.tasks.predictions import Extract
from ownlm.data.tasks.records import Answer, Question
from ownlm.models.load import build_any, save_model
from ownlm.objectives.tasks.span import Span, answer_tokens, best_span
from ownlm.objectives.tasks.task import encode_all
from ownlm.objectives.tasks.windows import overlapping

CONTEXT = "The captain of the harbour slept. Nobody sang!"


def question(answer: str = "", context: str = CONTEXT, asked: str = "who slept") -> Question:
    answers = (Answer(answer, context.index(answer)),) if answer else ()
    return Question(origin=HERE, context=context, question=asked, answers=answers)


def span_of(family: str, **options: Any) -> Span:
    task, _ = made(family, "span", **options)
    assert isinstance(task, Span)
    return task


def answered(task: Span, item: Encoded) -> str:
    """The tokens that are learned to be the answer, as text."""
    first, last = item.target.tolist()
    return task.tokenizer.decode(item.ids[first : last + 1].tolist()).strip()


def test_the_answer_by_hand() -> None:
    task = span_of("bert")
    (item,) = task.encode(question("captain of the harbour"), 0)
    tokens = [wordpiece().token(id) for id in item.ids.tolist()]
    begin = tokens.index("[SEP]") + 1
    assert tokens[begin : begin + 5] == ["The", "captain", "of", "the", "harbour"]
    assert item.target.tolist() == [begin + 1, begin + 4]
    assert item.types is not None and item.types[begin - 1 : begin + 1].tolist() == [0, 1]
    assert item.extra.begin == begin
    assert item.extra.characters[1].tolist() == [4, 11]
    (none,) = task.encode(question(), 0)
    assert none.target.tolist() == [0, 0] and none.ids.tolist() == item.ids.tolist()


def test_without_a_first_token_that_sees_all_the_last_one_stands_for_no_answer() -> None:
    for family in ("gpt2", "t5"):
        (none,) = span_of(family).encode(question(), 0)
        assert none.target.tolist() == [len(none.ids) - 1] * 2


@pytest.mark.parametrize("tokenizer", [wordpiece(), bpe(), small_bpe()], ids=["wp", "bpe", "small"])
@pytest.mark.parametrize("answer", ["船长", "naïve", "🙂", "e\u0301t", "sang", "naïve 🙂 船长"])
def test_characters_lead_to_tokens_and_back(tokenizer: Any, answer: str) -> None:
    """In scripts whose characters are several tokens, and where the tokenizer changes them."""
    context = "The  naïve 🙂 船长 sang in e\u0301te\u0301 , 船长 sang."
    record = question(answer, context)
    ids, places = tokenizer.encode_places(context)
    characters = np.array(places)
    found = answer_tokens(record, characters)
    assert found is not None
    first, last = found
    text = context[characters[first, 0] : characters[last, 1]]
    assert text.startswith(answer) and len(text) <= len(answer) + 2  # 't' and its accents
    if tokenizer.unk_id is None:
        assert answer in tokenizer.decode(ids[first : last + 1])


def test_an_answer_in_the_middle_of_a_word_takes_the_whole_token() -> None:
    task = span_of("bert")
    (item,) = task.encode(question("apt"), 0)
    assert answered(task, item) == "captain"


def test_a_long_context_is_read_in_windows_with_the_answer_where_it_is_whole() -> None:
    task = span_of("bert", longest=32, stride=10)
    context = f"{sentence(40)} naught {sentence(30, 2)}"
    record = question("naught", context)
    encoded = task.encode(record, 7)
    assert len(encoded) > 4 and all(len(item.ids) <= 32 and item.record == 7 for item in encoded)
    held = ["naught" in task.tokenizer.decode(item.ids.tolist()) for item in encoded]
    assert 1 <= sum(held) < len(encoded)
    for item, there in zip(encoded, held):
        assert (answered(task, item) == "naught") == there
        assert there or item.target.tolist() == [0, 0]
    read = [tuple(at) for item in encoded for at in item.extra.characters.tolist()]
    assert {*read} == {*task.tokenizer.encode_places(context)[1]}
    shared = [
        len({*map(tuple, one.extra.characters)} & {*map(tuple, two.extra.characters)})
        for one, two in itertools.pairwise(encoded)
    ]
    assert max(shared) == 10


def test_windows_share_the_stride() -> None:
    assert list(overlapping([1] * 20, 10, 4)) == [(0, 10), (6, 16), (12, 20)]
    assert list(overlapping([1] * 20, 10, 40)) == [(0, 10), (5, 15), (10, 20)]
    assert list(overlapping([1] * 20, 10, 0)) == [(0, 10), (10, 20)]
    assert list(overlapping([], 10, 4)) == [(0, 0)]


def test_a_question_that_fills_the_room_leaves_half_to_the_context() -> None:
    task = span_of("bert", longest=32)
    encoded = task.encode(question("captain", asked=sentence(60)), 0)
    assert all(len(item.ids) <= 32 for item in encoded)
    assert any(answered(task, item) == "captain" for item in encoded)


@given(
    strategies.lists(strategies.floats(-5, 5), min_size=1, max_size=20),
    strategies.lists(strategies.floats(-5, 5), min_size=20, max_size=20),
    strategies.integers(1, 8),
)
def test_the_best_span_is_the_best_of_all(
    starts: list[float], ends: list[float], longest: int
) -> None:
    count = len(starts)
    first, last = best_span(np.array(starts), np.array(ends[:count]), longest)
    every = [starts[i] + ends[j] for i in range(count) for j in range(i, min(count, i + longest))]
    assert 0 <= last - first < longest
    assert starts[first] + ends[last] == max(every)


def extracted(task: Span, told: dict[int, tuple[float, float]], record: Question) -> Extract:
    """What is predicted when the model says `told` at these places of the only window."""
    (item,) = task.encode(record, 0)
    logits = torch.full((len(item.ids), 2), -9.0)
    for place, both in told.items():
        logits[place] = torch.tensor(both)
    return task.chosen(record, list(task.candidates(item, logits)))


def test_only_the_context_is_an_answer_and_its_end_comes_after_its_start() -> None:
    task = span_of("bert")
    (item,) = task.encode(question(), 0)
    at = item.extra.begin
    told = {2: (99.0, 99.0), at + 4: (8.0, -9.0), at + 1: (5.0, 7.0), at + 2: (-9.0, 3.0)}
    found = extracted(task, told, question())
    assert (found.text, found.start, found.score) == ("captain", 4, 12.0)
    told[at + 1] = (5.0, -9.0)
    found = extracted(task, told, question())
    assert (found.text, found.start, found.score) == ("captain of", 4, 8.0)
    told[at + 3] = (-9.0, 30.0)
    assert extracted(task, told, question()).text == "captain of the"
    short = Span(task.tokenizer, task.marks, longest_answer=1)
    assert extracted(short, told, question()).text == "the"


def test_no_answer_is_believed_where_there_may_be_none_and_it_exceeds_by_the_threshold() -> None:
    told = {0: (5.0, 6.0)}
    (item,) = span_of("bert").encode(question(), 0)
    told[item.extra.begin] = (4.0, 4.0)
    always = extracted(span_of("bert"), told, question())
    assert (always.text, always.score, always.none) == ("The", 8.0, 11.0)
    assert extracted(span_of("bert", unanswerable=True), told, question()).text == ""
    assert extracted(span_of("bert", unanswerable=True), told, question()).start == -1
    for threshold, text in ((2.9, ""), (3.1, "The")):
        task = span_of("bert", unanswerable=True, none_threshold=threshold)
        assert extracted(task, told, question()).text == text


def test_the_best_of_all_windows_wins_and_none_must_be_the_opinion_of_all() -> None:
    task = span_of("bert", longest=32, stride=10, unanswerable=True)
    record = question("", sentence(70))
    encoded = task.encode(record, 0)
    windows = []
    for number, item in enumerate(encoded):
        logits = torch.full((len(item.ids), 2), -9.0)
        logits[0] = 6.0 if number != 2 else 1.0
        logits[item.extra.begin + 3] = float(number == 2) * 3
        windows += task.candidates(item, logits)
    found = task.chosen(record, windows)
    begin, end = encoded[2].extra.characters[3]
    assert found.text == record.context[begin:end] and found.start == begin
    assert (found.score, found.none) == (6.0, 2.0)
    assert task.chosen(record, windows[:2] + windows[3:]).text == ""


def test_an_empty_context_has_no_answer() -> None:
    task, model = made("bert", "span")
    record = question("", "")
    encoded = task.encode(record, 0)
    assert len(encoded) == 1 and task.predict(model, encoded, [record]) == [Extract("")]
    assert np.isfinite(float(learned(task, model, encoded)[0].total))


def test_predictions_are_those_of_a_plain_search() -> None:
    task, model = made("bert", "span", longest=40, stride=8)
    assert isinstance(task, Span)
    records = questions([60, 8, 33])
    encoded = encode_all(task, records)
    found = task.predict(model, encoded, records)
    for number, record in enumerate(records):
        best: tuple[float, str] = (-np.inf, "")
        for item in (one for one in encoded if one.record == number):
            types = None if item.types is None else torch.from_numpy(item.types)[None]
            logits = model(torch.from_numpy(item.ids)[None], types=types).logits[0].detach()
            for i in range(len(item.extra.characters)):
                for j in range(i, min(i + 30, len(item.extra.characters))):
                    score = float(logits[item.extra.begin + i, 0] + logits[item.extra.begin + j, 1])
                    first, last = item.extra.characters[i, 0], item.extra.characters[j, 1]
                    best = max(best, (score, record.context[first:last]))
        one = found[number]
        assert isinstance(one, Extract) and one.text == best[1]
        assert one.score == pytest.approx(best[0], 1e-5)
        assert record.context[one.start :].startswith(one.text)


def test_a_batch_by_hand() -> None:
    task = span_of("bert")
    items = [
        Encoded(np.array([2, 7, 3, 8, 9, 3]), 0, np.array([0, 0, 0, 1, 1, 1]), np.array([3, 4]))
    ]
    items.append(Encoded(np.array([2, 7, 3]), 1, np.array([0, 0, 0]), np.array([0, 0])))
    batch = task.collate(examples(items), RNG)
    assert batch["targets"].tolist() == [[3, 4], [0, 0]]
    assert batch["types"].tolist() == [[0, 0, 0, 1, 1, 1], [0] * 6]
    assert batch["places"].tolist() == [[0, 1, 2, 3, 4, 5], [6, 7, 8, -1, -1, -1]]


def test_loss_and_gradients_are_those_of_bert_for_question_answering(tmp_path: Path) -> None:
    """One sequence at a time: where rows are padded, the reference lets padding be an answer.
    The control: with one answer moved they are not."""
    transformers = pytest.importorskip("transformers")
    task = span_of("bert")
    model = build_any(config_of("bert", task.head, 2), seed=3).eval()
    save_model(model, tmp_path)
    other = transformers.BertForQuestionAnswering.from_pretrained(tmp_path).eval()
    encoded = encode_all(task, questions([9, 14, 6]))
    for item in encoded:
        first, last = torch.from_numpy(item.target)[:, None]
        assert item.types is not None
        loss = other(
            input_ids=torch.from_numpy(item.ids)[None],
            token_type_ids=torch.from_numpy(item.types)[None],
            start_positions=first,
            end_positions=last,
        ).loss
        loss.backward()
        alone, _ = learned(task, model, [item])
        assert float(alone.total) == pytest.approx(loss.item(), 1e-5)
        moved = item._replace(target=item.target + 1)
        assert abs(float(learned(task, model, [moved])[0].total) - loss.item()) > 1e-4
    loss, _ = learned(task, model, encoded)
    assert float(loss.count) == 3
    theirs = dict(other.named_parameters())
    for name, ours in {
        "bert.embeddings.word_embeddings.weight": model.embed.tokens.weight,
        "qa_outputs.weight": model.task.out.weight,
    }.items():
        assert apart([ours.grad], [theirs[name].grad]) < 1e-4
