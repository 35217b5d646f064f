"""What stands around a text, written and read."""

from typing import Any

import pytest

from ownlm.errors import DataError
from ownlm.tokenization.around import starting_ids, template

NAMES, IDS = {"bos": "<s>", "cls": "<s>", "sep": "</s>"}, {"<s>": 5, "</s>": 7}


@pytest.mark.parametrize(
    ("form", "expected"),
    [("bos A", [5]), ("A sep", []), ("cls A sep", [5]), ("bos sep A", [5, 7]), ("A", [])],
)
def test_what_is_written_is_read(form: str, expected: list[int]) -> None:
    assert starting_ids(template(form, form + " B:1", NAMES, IDS)) == expected


def test_roles_without_a_token_are_left_out_altogether() -> None:
    assert template("bos A eos", "A B", NAMES, IDS) is None
    assert template("A", "A B:1", NAMES, IDS) is None


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        (None, []),
        ({"type": "ByteLevel", "trim_offsets": True}, []),
        ({"type": "BertProcessing", "cls": ["[CLS]", 2], "sep": ["[SEP]", 3]}, [2]),
        ({"type": "Sequence", "processors": [{"type": "ByteLevel"},
          {"type": "RobertaProcessing", "cls": ["<s>", 0], "sep": ["</s>", 2]}]}, [0]),
    ],
)  # fmt: skip
def test_other_sections(section: Any, expected: list[int]) -> None:
    assert starting_ids(section) == expected


@pytest.mark.parametrize(
    "section",
    [3, "x", [1], {"type": "Sequence"}, {"type": "TemplateProcessing", "single": [{}]},
     {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}]},
     {"type": "TemplateProcessing", "single": 7}, {"type": "BertProcessing", "cls": []}],
)  # fmt: skip
def test_nonsense_is_refused(section: Any) -> None:
    if section == {"type": "TemplateProcessing", "single": [{}]}:
        assert starting_ids(section) == []
        return
    with pytest.raises(DataError, match="post_processor"):
        starting_ids(section)
