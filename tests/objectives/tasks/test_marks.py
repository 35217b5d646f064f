"""Marks around texts: as the tokenizer's own file says, cut so that no mark is lost."""

from typing import Any

import pytest
from examples import bpe, wordpiece
from task_cases import labelled, made

from ownlm.errors import ConfigError, DataError
from ownlm.models.families import family_named
from ownlm.models.hf_config import Reader
from ownlm.objectives.tasks.marks import marks
from ownlm.objectives.tasks.task import Task
from ownlm.tokenization.around import Slot, forms


def marks_of(family: str, kind: str = "classify") -> Any:
    task, _ = made(family, kind)
    return task.marks  # type: ignore[attr-defined]


def test_bert_by_hand() -> None:
    cls, sep = (wordpiece().special[name] for name in ("[CLS]", "[SEP]"))
    one, two = marks_of("bert")([50, 51]), marks_of("bert")([50, 51], [52])
    assert one.ids.tolist() == [cls, 50, 51, sep] and one.segments.tolist() == [0] * 4
    assert two.ids.tolist() == [cls, 50, 51, sep, 52, sep]
    assert two.segments.tolist() == [0, 0, 0, 0, 1, 1]
    assert (one.begins, two.begins) == ((1,), (1, 4))
    assert marks_of("distilbert")([50], [52]).segments is None
    assert marks_of("bert").whole(6) == 0


def test_decoders_end_and_are_read_off_their_last_token() -> None:
    end = bpe().eos_id
    for family in ("gpt2", "llama"):
        found = marks_of(family)([50, 51], [52])
        assert found.ids.tolist() == [50, 51, end, 52, end] and found.segments is None
        assert marks_of(family).whole(5) == 4 and marks_of(family).causal


def test_encoder_decoders_and_xlnet() -> None:
    """A tokenizer of our own says nothing: an encoder gets a token before, and an end."""
    begin, end = bpe().special["<|begin|>"], bpe().eos_id
    assert marks_of("t5")([50], [52]).ids.tolist() == [50, end, 52, end]
    assert not marks_of("t5").causal and marks_of("t5").whole(4) == 3
    found = marks_of("xlnet")([50], [52])
    assert found.ids.tolist() == [begin, 50, end, 52, end]
    assert found.segments.tolist() == [0, 0, 0, 1, 1]


SECTIONS: dict[str, tuple[Any, list[Any], list[Any]]] = {
    "none": (None, [], []),
    "bytes only": ({"type": "ByteLevel"}, [], []),
    "bert": (
        {"type": "BertProcessing", "cls": ["[CLS]", 1], "sep": ["[SEP]", 2]},
        [(1, 0), ("A", 0), (2, 0)],
        [(1, 0), ("A", 0), (2, 0), ("B", 1), (2, 1)],
    ),
    "roberta": (
        {"type": "RobertaProcessing", "cls": ["<s>", 0], "sep": ["</s>", 2]},
        [(0, 0), ("A", 0), (2, 0)],
        [(0, 0), ("A", 0), (2, 0), (2, 0), ("B", 0), (2, 0)],
    ),
    "xlnet in a sequence": (
        {
            "type": "Sequence",
            "processors": [
                {"type": "ByteLevel"},
                {
                    "type": "TemplateProcessing",
                    "single": [{"Sequence": {"id": "A", "type_id": 0}},
                               {"SpecialToken": {"id": "<cls>", "type_id": 2}}],
                    "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                             {"Sequence": {"id": "B", "type_id": 1}},
                             {"SpecialToken": {"id": "<cls>", "type_id": 2}}],
                    "special_tokens": {"<cls>": {"id": "<cls>", "ids": [3], "tokens": ["<cls>"]}},
                },
            ],
        },
        [("A", 0), (3, 2)],
        [("A", 0), ("B", 1), (3, 2)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SECTIONS)
def test_what_a_section_says(name: str) -> None:
    section, single, pair = SECTIONS[name]
    found = forms(section)
    if not single:
        assert found is None
    else:
        assert found is not None
        assert [*found.single] == [Slot(*each) for each in single]
        assert [*found.pair] == [Slot(*each) for each in pair]


@pytest.mark.parametrize(
    "section", [{"type": "BertProcessing"}, {"type": "TemplateProcessing", "single": [{}]}, 3]
)
def test_a_section_that_says_nothing_is_refused(section: Any) -> None:
    with pytest.raises(DataError, match="cannot be understood"):
        forms(section)


def test_the_marks_are_those_of_the_library() -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = wordpiece()
    other = transformers.BertTokenizerFast(tokenizer_object=_library(tokenizer.definition))
    texts = "the captain sang", "nobody slept at night"
    for given in (texts[:1], texts):
        expected = other(*given)
        found = marks_of("bert")(*(tokenizer.encode(text) for text in given))
        assert found.ids.tolist() == expected["input_ids"]
        assert found.segments.tolist() == expected["token_type_ids"]


def _library(text: str) -> Any:
    import tokenizers

    return tokenizers.Tokenizer.from_str(text)


@pytest.mark.parametrize("family", ["bert", "roberta", "gpt2", "t5"])
@pytest.mark.parametrize("sizes", [(200,), (200, 5), (5, 200), (200, 200), (70, 60)])
def test_what_is_too_long_loses_its_end_but_no_mark(family: str, sizes: tuple[int, ...]) -> None:
    """Of two texts the longest gives way, down to the other's length."""
    made_of = marks_of(family)
    texts = [[60 + number] * size for number, size in enumerate(sizes)]
    found = made_of(*texts)
    short = made_of(*([60 + number] for number in range(len(sizes))))
    assert len(found.ids) == 128
    kept = [int((found.ids == 60 + number).sum()) for number in range(len(sizes))]
    assert sum(kept) == made_of.room(len(sizes)) == 128 - (len(short.ids) - len(sizes))
    assert all(k == s or k >= made_of.room(len(sizes)) // 2 for k, s in zip(kept, sizes))
    marks_left = found.ids[~((found.ids == 60) | (found.ids == 61))]
    assert marks_left.tolist() == [i for i in short.ids.tolist() if i not in (60, 61)]
    for begin, number in zip(found.begins, (60, 61)):
        assert found.ids[begin] == number


def test_no_room_is_refused() -> None:
    family = family_named("bert")
    architecture = family.from_hf(Reader(family.to_hf(family.typical)))
    assert marks(wordpiece(), architecture).longest == 512
    assert marks(wordpiece(), architecture, longest=64).longest == 64
    with pytest.raises(ConfigError, match="no room for texts"):
        marks(wordpiece(), architecture, longest=4)


def test_a_prefix_stands_before_the_first_text() -> None:
    task, _ = made("t5", "classify", prefix="nobody ")
    plain, _ = made("t5", "classify")
    (record,) = labelled([4], pairs=True)

    def text(task: Task) -> str:
        return bpe().decode(task.encode(record, 0)[0].ids.tolist())

    assert text(task) == "nobody " + text(plain)
