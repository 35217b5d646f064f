"""The demonstration's text: deterministic, complete, and refused where it is not there."""

import json
import sys
from pathlib import Path

import pytest

from ownlm.errors import DataError
from ownlm.recipes import demo


def library(folder: Path) -> Path:
    """A standard library of four files: two to take, one omitted, one that is not Python."""
    (folder / "json").mkdir(parents=True)
    (folder / "json" / "decoder.py").write_text('"""Décoder."""\n' * 20_000, encoding="utf-8")
    (folder / "abc.py").write_bytes(b"# -*- coding: latin-1 -*-\n# caf\xe9\n" * 10_000)
    (folder / "test").mkdir()
    (folder / "test" / "test_json.py").write_text("assert True\n", encoding="utf-8")
    (folder / "broken.py").write_bytes(b"\xff\xfe\x00")
    return folder


def test_this_installation_carries_enough_and_always_the_same(tmp_path: Path) -> None:
    first, second = demo.write_corpus(tmp_path / "a"), demo.write_corpus(tmp_path / "b")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.topics > 50 and first.sources > 200 and first.text_bytes > 2_000_000
    rows = [json.loads(line) for line in first.path.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == first.topics + first.sources
    assert sum(len(row["text"].encode()) for row in rows) == first.text_bytes
    assert not [row["name"] for row in rows if "/test/" in row["name"]]


def test_sources_come_in_order_by_their_own_coding_without_what_is_omitted(tmp_path: Path) -> None:
    documents = list(demo.source_documents(library(tmp_path)))
    assert [d.name for d in documents] == ["lib/abc.py", "lib/json/decoder.py"]
    assert "café" in documents[0].text and "Décoder" in documents[1].text


def test_help_topics_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    summary = demo.write_corpus(tmp_path / "out", library(tmp_path / "lib"))
    assert (summary.topics, summary.sources) == (0, 2)


def test_an_installation_without_text_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="0 help topics, 0 source files") as caught:
        demo.write_corpus(tmp_path / "out", tmp_path / "empty")
    assert "--data" in caught.value.next_command
    assert not (tmp_path / "out").exists()
