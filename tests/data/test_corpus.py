"""D2, D8, D11: empty corpora, duplicates, the fail and skip policies; the report of a scan."""

import json
import random

import pytest

from ownlm.data.config import DataConfig
from ownlm.data.corpus import Corpus
from ownlm.errors import DataError


def rows(texts):
    return "".join(json.dumps({"text": text}) + "\n" for text in texts)


def test_empty_files_and_rows_give_no_document_and_are_counted(write, skim):
    write("empty.txt", "")
    write("mark.md", b"\xef\xbb\xbf")
    write("rows.jsonl", rows(["", "full", ""]))
    documents, report = skim(write("none.csv", "text\n").parent)
    assert [d.text for d in documents] == ["full"]
    assert (report.documents, report.empty, report.bad) == (1, 4, 0)


@pytest.mark.parametrize(
    "contents", [{"a.txt": ""}, {"a.jsonl": "", "b.md": ""}, {"a.csv": "text\n"}]
)
def test_a_corpus_without_text_is_refused(write, contents):
    for name, content in contents.items():
        path = write(name, content)
    with pytest.raises(DataError, match="no text") as caught:
        Corpus(str(path.parent), DataConfig()).scan()
    assert caught.value.exit_code == 3
    assert caught.value.where == str(path.parent)
    with pytest.raises(DataError, match="no text") as caught:
        Corpus(str(path), DataConfig()).scan()
    assert caught.value.where == str(path)  # the file that was named, not the folder it is in


def test_nothing_bad_passes_unless_it_is_asked_for(write):
    path = write("a.jsonl", rows(["good"] * 8) + "bad\n")
    with pytest.raises(DataError, match=r"a\.jsonl:9"):
        Corpus(str(path), DataConfig()).scan()
    with pytest.raises(DataError, match=r"a\.jsonl:9"):
        list(Corpus(str(path), DataConfig()))


def test_skipped_records_are_counted_up_to_the_allowed_share(write):
    path = write("a.jsonl", rows(["good"] * 8) + "bad\n[]\n")
    report = Corpus(str(path), DataConfig(bad="skip", max_bad_fraction=0.2)).scan().as_dict()
    assert json.loads(json.dumps(report)) == report
    assert (report["documents"], report["bad"], report["bad_fraction"]) == (8, 2, 0.2)
    assert report["reasons"] == {"bad-json": 1, "not-an-object": 1}
    assert [row["first"] for row in report["skipped"]] == ["a.jsonl:9", "a.jsonl:10"]
    with pytest.raises(DataError, match=r"2 of 10 records are bad \(20.0%, allowed 19.0%\)"):
        Corpus(str(path), DataConfig(bad="skip", max_bad_fraction=0.19)).scan()


def test_a_corpus_that_must_be_sound_is_given_up_early(write):
    path = write("a.jsonl", "bad\n" * 100_000)
    with pytest.raises(DataError, match=r"\(1000 such\)"):
        Corpus(str(path), DataConfig()).scan()


def test_only_so_many_faults_are_listed(write):
    for number in range(30):
        path = write(f"{number:02}.txt", b"\xff")
    with pytest.raises(DataError) as caught:
        Corpus(str(path.parent), DataConfig()).scan()
    assert str(caught.value).count(": not UTF-8") == 20


def test_duplicates_are_counted_whatever_the_order_and_the_files(write, skim):
    texts = [f"text {n}" for n in range(50)] * 3 + [f"single {n}" for n in range(20)]
    random.Random(0).shuffle(texts)
    one = skim(write("one/a.jsonl", rows(texts)))[1]
    random.Random(1).shuffle(texts)
    write("two/a.jsonl", rows(texts[:70]))
    two = skim(write("two/b.jsonl", rows(texts[70:])).parent)[1]
    assert one.as_dict()["duplicates"] == two.as_dict()["duplicates"] == 100
    assert one.held_out == two.held_out


def test_equal_corpora_give_equal_reports(write, skim):
    write("a.txt", "Some English text about nothing in particular.\n" * 5)
    path = write("b.txt", "这是一些中文文本，没有什么特别的内容。\n" * 5).parent
    first, second = (skim(path)[1].as_dict() for _ in range(2))
    assert json.dumps(first) == json.dumps(second)
    assert first["languages"] == {"en": 0.5, "zh": 0.5}
    assert first["kinds"] == {".txt": {"files": 2, "documents": 2, "bytes": first["bytes"]}}
    assert first["longest"][0]["where"] == "b.txt"


def test_documents_know_where_they_came_from(write, skim):
    write("a.txt", "a")
    documents, _ = skim(write("sub/b.jsonl", "\n" + rows(["b"])).parent.parent)
    assert [d.where for d in documents] == ["a.txt", "sub/b.jsonl:2"]


def test_progress_reaches_the_size_on_disk(write):
    write("a.txt", "x" * 1000)
    corpus = Corpus(str(write("b.jsonl", rows(["y" * 1000])).parent), DataConfig())
    seen = []
    corpus.scan(seen.append)
    assert seen == sorted(seen)
    assert 0 < seen[-1] <= corpus.size


def test_the_real_texts_are_read_whole(shared_data, skim):
    documents, report = skim(shared_data / "text")
    book = (shared_data / "text" / "tinyshakespeare.txt").read_text(encoding="utf-8")
    assert "".join(d.text for d in documents if d.path == "tinyshakespeare.txt") == book
    assert (report.documents, report.bad) == (6, 0)
    assert set(report.languages) <= {"en", "zh"} | {"la", "fr", "de", "ja"}
    assert report.languages["en"] > 0.5 > report.languages["zh"] > 0.1
