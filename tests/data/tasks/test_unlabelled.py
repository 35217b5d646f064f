"""Records that are to be predicted: every layout that is learned from, without the answers."""

from pathlib import Path
from typing import Any

import pytest

from ownlm.data.faults import Bad
from ownlm.data.tasks.config import TaskDataConfig
from ownlm.data.tasks.records import Labelled, Origin, Parallel, Question, Tagged
from ownlm.data.tasks.unlabelled import read_inputs, typed
from ownlm.errors import DataError


def read(folder: Path, name: str, content: str, task: Any, **more: Any) -> list[Any]:
    (folder / name).write_text(content, encoding="utf-8")
    return list(read_inputs(TaskDataConfig(path=str(folder / name), **more), task))


def test_a_text_a_line(tmp_path: Path) -> None:
    found = read(tmp_path, "a.txt", "one boat\n\ntwo boats\r\n", "classify")
    assert [(r.text, r.labels, r.origin.place) for r in found] == [
        ("one boat", (), "1"),
        ("two boats", (), "3"),
    ]
    assert read(tmp_path, "b.txt", "one boat\n", "tag")[0].words == ("one", "boat")
    (talk,) = read(tmp_path, "c.txt", "who are you?\n", "chat")
    assert [(turn.role, turn.content) for turn in talk.messages] == [("user", "who are you?")]


def test_a_table_with_or_without_its_answers(tmp_path: Path) -> None:
    rows = "".join(f"a boat {n},{'yes' if n % 2 else 'no'}\n" for n in range(8))
    labelled = read(tmp_path, "a.csv", "text,label\n" + rows, "classify")
    bare = "".join(f"a boat {n}\n" for n in range(8))
    alone = read(tmp_path, "b.csv", "text\n" + bare, "classify")
    assert [r.text for r in labelled] == [r.text for r in alone]
    assert all(isinstance(r, Labelled) and r.labels == () for r in labelled)


def test_pairs_translations_questions_and_words(tmp_path: Path) -> None:
    pairs = '{"premise": "a", "hypothesis": "b", "label": "x"}\n'
    (two,) = read(tmp_path, "a.jsonl", pairs, "pair")
    assert (two.text, two.pair) == ("a", "b")
    lines = "".join(f"boat {n}\tBoot {n} da\n" for n in range(6))
    found = read(tmp_path, "b.tsv", lines, "seq2seq")
    assert all(isinstance(r, Parallel) and r.target == "" for r in found)
    assert found[2].source == "boat 2"
    asked = '{"context": "a boat", "question": "what?"}\n'
    (question,) = read(tmp_path, "c.jsonl", asked, "span")
    assert isinstance(question, Question)
    assert (question.context, question.question, question.answers) == ("a boat", "what?", ())
    (tagged,) = read(tmp_path, "d.jsonl", '{"tokens": ["a", "boat"]}\n', "tag")
    assert isinstance(tagged, Tagged)
    assert (tagged.words, tagged.tags) == (("a", "boat"), ())


def test_what_cannot_be_told_is_refused_with_its_option(tmp_path: Path) -> None:
    rows = "".join(f"a boat {n},one harbour {n}\n" for n in range(8))
    with pytest.raises(DataError, match="several columns") as caught:
        read(tmp_path, "a.csv", "here,there\n" + rows, "classify")
    assert "--data.text-column" in caught.value.next_command
    chosen = read(tmp_path, "a.csv", "here,there\n" + rows, "classify", text_column="there")
    assert chosen[0].text == "one harbour 0"
    with pytest.raises(DataError, match="empty"):
        read(tmp_path, "b.jsonl", '{"text": " "}\n', "classify")
    with pytest.raises(Bad, match="empty"):
        typed(" ", "", "classify", Origin("here"))
