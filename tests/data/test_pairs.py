"""Pairs: from columns, aligned files and fields; what is no pair is named by path and line."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ownlm.data.config import DataConfig
from ownlm.data.corpus import Corpus
from ownlm.data.prepare import prepare
from ownlm.errors import ConfigError, DataError
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.load import load_tokenizer

TWO = [["one", "eins"], ["two", "zwei"]]
CONTENTS: dict[str, tuple[str, dict[str, str]]] = {
    "a.tsv": ("one\teins\n\ntwo\tzwei\n", {}),
    "more.tsv": ("one\teins\tCC-BY\r\ntwo\tzwei\tCC-BY\r\n", {}),
    "a.txt": ("\ufeffone\teins\n two \t zwei", {}),
    "swapped.tsv": ("eins\tone\nzwei\ttwo\n", {"source_field": "2", "target_field": "1"}),
    "named.tsv": ("id\tde\ten\n1\teins\tone\n2\tzwei\ttwo\n",
                  {"source_field": "en", "target_field": "de"}),
    "a.jsonl": ('{"source": "one", "target": "eins"}\n{"source": "two", "target": "zwei"}\n', {}),
    "b.jsonl": ('{"en": "one", "de": "eins"}\n{"en": "two", "de": "zwei"}\n',
                {"source_field": "en", "target_field": "de"}),
    "a.csv": ("target,source\neins,one\nzwei,two\n", {}),
}  # fmt: skip


def pairs_of(path: Path, **values: Any) -> list[list[str]]:
    corpus = Corpus(str(path), DataConfig(pairs=True, **values))
    return [document.text.split("\x1e") for document in corpus]


@pytest.mark.parametrize("name", CONTENTS)
def test_pairs_of_columns_and_fields(write, name: str) -> None:
    content, values = CONTENTS[name]
    assert pairs_of(write(name, content), **values) == TWO


def test_pairs_of_parquet(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    table = pa.table({"target": ["eins", "zwei"], "n": [1, 2], "source": ["one", "two"]})
    pq.write_table(table, tmp_path / "a.parquet")
    assert pairs_of(tmp_path) == TWO


def test_pairs_of_aligned_files(write) -> None:
    one = write("train.en", "one\n\ntwo\n")
    other = write("train.de.gz", gzip.compress(b"eins\r\n\r\nzwei"))
    assert pairs_of(one, target_path=str(other)) == TWO


@pytest.mark.parametrize(("lines", "kind", "words"), [
    ("nothing but a source", "missing-field", "1 column; a pair is in columns 1 and 2"),
    ("source\t", "empty-side", "the target is empty"),
    ("\ttarget", "empty-side", "the source is empty"),
    ("a\x1eb\tc", "separator", "the source holds U+001E"),
    ("x" * 70_000 + "\ty", "long-pair", "a pair of 70,002 characters"),
])  # fmt: skip
def test_what_is_no_pair_is_named(write, skim, lines: str, kind: str, words: str) -> None:
    path = write("a.tsv", f"one\teins\n{lines}\ntwo\tzwei\n")
    documents, report = skim(path, pairs=True)
    assert [d.line for d in documents] == [1, 3] and report.reasons == {kind: 1}
    with pytest.raises(DataError, match=r"a\.tsv:2: ") as caught:
        pairs_of(path)
    assert words in str(caught.value) and "--data.bad skip" in caught.value.next_command


def test_what_is_missing_is_named(write, tmp_path: Path) -> None:
    one, short = write("a.en", "one\ntwo\nthree\n"), write("a.de", "eins\nzwei\n")
    with pytest.raises(DataError, match=r"a\.en:3: line without its other side.*a\.de ends"):
        pairs_of(one, target_path=str(short))
    with pytest.raises(DataError, match=r"a\.de:3: line without its other side: this file ends"):
        pairs_of(short, target_path=str(one))
    with pytest.raises(DataError, match="no such file"):
        pairs_of(one, target_path=str(tmp_path / "absent"))
    with pytest.raises(DataError, match="no field of a target among 'source', 'tgtt'"):
        pairs_of(write("b.jsonl", '{"source": "x", "tgtt": "y"}\n'))
    with pytest.raises(DataError, match="no one column 'fr' among 'en', 'de'"):
        pairs_of(write("c.tsv", "en\tde\nx\ty\n"), source_field="en", target_field="fr")


@pytest.mark.parametrize(("values", "words"), [
    ({"split": "tail", "pairs": True}, "cannot be kept for validation"),
    ({"text_field": "x", "pairs": True}, "a pair has two fields"),
    ({"target_path": "x"}, "target_path is for pairs"),
    ({"codes": "file", "pairs": True}, "pairs have no control codes"),
])  # fmt: skip
def test_options_that_do_not_fit_are_refused(write, values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        Corpus(str(write("a.tsv", "x\ty\n")), DataConfig(**values))
    assert caught.value.next_command


def test_tsv_without_pairs_says_what_it_is_for(write) -> None:
    with pytest.raises(DataError, match=r"1 \.tsv") as caught:
        Corpus(str(write("a.tsv", "x\ty\n")), DataConfig())
    assert "seq2seq" in caught.value.next_command


def test_both_sides_end_in_shards(write, tmp_path: Path) -> None:
    path = write("a.tsv", "one\teins\ntwo\tzwei\n")
    config = DataConfig(path=str(path), pairs=True, validation=0.0)
    data = prepare(config, tmp_path / "data", TokenizerConfig(kind="byte"))
    tokenizer = load_tokenizer(data.tokenizer_folder)
    end = tokenizer.eos_id
    sides = [tokenizer.encode(side) for pair in TWO for side in pair]
    expected = [id for side in sides for id in (*side, end)]
    assert data.train.gather([0], data.train.tokens)[0].tolist() == expected
    assert data.train.starts.tolist() == [0, len(sides[0]) + len(sides[1]) + 2]
    assert data.holds == "pairs" and data.train.text_bytes == len("oneeinstwozwei") + 2


def test_real_pairs(shared_data: Path, tmp_path: Path) -> None:
    """19,777 English sentences with a translation into Chinese."""
    config = DataConfig(path=str(shared_data / "translate" / "tatoeba_cmn_eng.tsv"), pairs=True)
    data = prepare(config, tmp_path / "data", TokenizerConfig(kind="byte"))
    assert data.report["documents"] == 19_777 and data.manifest["split"] == "documents"
    tokenizer = load_tokenizer(data.tokenizer_folder)
    first = data.train.gather([0], 40)[0].tolist()
    assert tokenizer.decode(first).startswith("Hi.")
    json.dumps(data.manifest)
