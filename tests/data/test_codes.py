"""Control codes of documents: from folders, files and fields, into tokenizers and shards."""

import json
from pathlib import Path

import numpy as np
import pytest

from ownlm.data.config import DataConfig
from ownlm.data.corpus import Corpus
from ownlm.data.prepare import prepare
from ownlm.errors import ConfigError, DataError
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.load import load_tokenizer

BYTES = TokenizerConfig(kind="byte")


def codes_of(path: Path, codes: str) -> list[tuple[str, str]]:
    return [(d.text, d.code) for d in Corpus(str(path), DataConfig(codes=codes))]


def test_codes_of_folders_and_files(write) -> None:
    root = write("books/a.txt", "one").parents[1]
    write("books/old/b.txt", "two")
    write("news.en.jsonl", '{"text": "three"}\n{"text": "four"}\n')
    found = [("one", "books"), ("two", "books"), ("three", "news"), ("four", "news")]
    assert codes_of(root, "auto") == found
    assert [code for _, code in codes_of(root, "file")] == ["a", "b", "news", "news"]
    with pytest.raises(DataError, match=r"news\.en\.jsonl.*lies in no folder"):
        codes_of(root, "folder")


@pytest.mark.parametrize(("name", "content"), [
    ("a.jsonl", '{"text": "x", "kind": "prose"}\n{"text": "y", "kind": 7}\n'),
    ("a.csv", "kind,text\nprose,x\n7,y\n"),
])  # fmt: skip
def test_codes_of_fields(write, name: str, content: str) -> None:
    assert codes_of(write(name, content), "kind") == [("x", "prose"), ("y", "7")]


def test_codes_of_a_parquet_column_of_numbers(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["x", "y"], "stars": [5, 1]}), tmp_path / "a.parquet")
    assert codes_of(tmp_path, "stars") == [("x", "5"), ("y", "1")]


@pytest.mark.parametrize(("line", "kind"), [
    ('{"text": "x"}', "missing-field"), ('{"text": "x", "kind": null}', "null-text"),
    ('{"text": "x", "kind": " "}', "bad-code"), ('{"text": "x", "kind": "a\\nb"}', "bad-code"),
    ('{"text": "x", "kind": true}', "not-a-string"),
])  # fmt: skip
def test_a_row_without_a_code_is_named(write, skim, line: str, kind: str) -> None:
    path = write("a.jsonl", '{"text": "w", "kind": "a"}\n' + line + "\n")
    documents, report = skim(path, codes="kind")
    assert report.reasons == {kind: 1} and [d.code for d in documents] == ["a"]
    assert report.as_dict()["skipped"][0]["first"] == "a.jsonl:2"


def test_documents_in_shards_begin_with_their_codes(write, tmp_path: Path) -> None:
    rows = [{"text": f"text {n}", "kind": ("prose", "verse")[n % 2]} for n in range(8)]
    path = write("a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    config = DataConfig(path=str(path), codes="kind", validation=0.0)
    data = prepare(config, tmp_path / "data", BYTES)
    tokenizer = load_tokenizer(data.tokenizer_folder)
    assert list(tokenizer.codes) == ["prose", "verse"] and data.holds == "codes"
    prose, verse = (tokenizer.code(name) for name in ("prose", "verse"))
    ids = data.train.gather([0], data.train.tokens)[0]
    firsts = ids[data.train.starts]
    assert firsts.tolist() == [prose, verse] * 4
    expected = [prose, *tokenizer.encode("text 0"), tokenizer.eos_id, verse]
    assert ids[: len(expected)].tolist() == expected
    places = np.arange(data.train.tokens)
    owners = np.searchsorted(data.train.starts, places, side="right") - 1
    assert data.train.heads(places).tolist() == firsts[owners].tolist()
    with pytest.raises(ConfigError, match="no control code 'poem'; its codes: 'prose', 'verse'"):
        tokenizer.code("poem")


def test_an_existing_tokenizer_must_have_the_codes(write, tmp_path: Path) -> None:
    path = write("books/a.txt", "one " * 50).parents[1]
    prepare(DataConfig(path=str(path)), tmp_path / "plain", BYTES)
    existing = TokenizerConfig(path=str(tmp_path / "plain" / "tokenizer"))
    with pytest.raises(ConfigError, match="no control code 'books'"):
        prepare(DataConfig(path=str(path), codes="folder"), tmp_path / "coded", existing)
    assert not (tmp_path / "coded").exists()


def test_a_field_of_names_is_no_code(write, tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": "x", "id": n}) + "\n" for n in range(1200))
    config = DataConfig(path=str(write("a.jsonl", rows)), codes="id")
    with pytest.raises(ConfigError, match="more than 1,000 different control codes"):
        prepare(config, tmp_path / "data", BYTES)
