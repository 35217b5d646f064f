"""D5: every fault of a row has a class of its own, with path:line; sound rows around it stay."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ownlm.data.config import DataConfig
from ownlm.data.corpus import Corpus
from ownlm.errors import ConfigError, DataError

GOOD = '{"text": "good"}\n'
FAULTS = {
    "not JSON": ('{"text": "x"', "bad-json"),
    "two values": ('{"text": "x"} {"text": "y"}', "bad-json"),
    "single quotes": ("{'text': 'x'}", "bad-json"),
    "control character": ('{"text": "a\tb"}', "bad-json"),
    "missing": ('{"title": "x"}', "missing-field"),
    "empty object": ("{}", "missing-field"),
    "null": ('{"text": null}', "null-text"),
    "number": ('{"text": 5}', "not-a-string"),
    "list": ('{"text": ["x"]}', "not-a-string"),
    "array": ('["x"]', "not-an-object"),
    "string": ('"x"', "not-an-object"),
    "duplicate": ('{"text": "x", "text": "y"}', "duplicate-key"),
    "duplicate inside": ('{"text": "x", "meta": {"a": 1, "a": 2}}', "duplicate-key"),
    "NaN": ('{"text": "x", "score": NaN}', "nan"),
    "infinity": ('{"text": "x", "score": -Infinity}', "nan"),
    "deep": ("[" * 200_000, "deep-json"),
    "deep object": ('{"a":' * 200_000, "deep-json"),
    "huge integer": ('{"text": "x", "n": ' + "9" * 5000 + "}", "huge-number"),
    "lone surrogate": ('{"text": "\\ud800"}', "lone-surrogate"),
    "lone low surrogate": ('{"text": "a\\udc00b"}', "lone-surrogate"),
}


@pytest.mark.parametrize(("line", "kind"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_line_is_named_and_its_neighbours_are_kept(write, skim, line, kind):
    path = write("a.jsonl", GOOD + GOOD + line + "\n" + GOOD)
    documents, report = skim(path)
    assert report.reasons == {kind: 1}
    assert report.as_dict()["skipped"][0]["first"] == "a.jsonl:3"
    assert [d.line for d in documents] == [1, 2, 4]
    with pytest.raises(DataError, match=r"a\.jsonl:3: ") as caught:
        Corpus(str(path), DataConfig()).scan()
    assert "--data.bad skip" in caught.value.next_command


def test_all_faults_of_a_file_are_listed_at_once(write):
    lines = "".join(line + "\n" + GOOD for line, _ in FAULTS.values())
    with pytest.raises(DataError) as caught:
        Corpus(str(write("a.jsonl", lines)), DataConfig()).scan()
    assert len(str(caught.value).splitlines()) == len({kind for _, kind in FAULTS.values()}) + 1
    assert "(4 such)" in str(caught.value)


def test_bytes_that_are_not_utf_8_cost_one_line(write, skim):
    path = write("a.jsonl", GOOD.encode() + b'{"text": "\xff"}\n' + GOOD.encode())
    documents, report = skim(path)
    assert (len(documents), report.reasons) == (2, {"encoding": 1})
    assert "byte 0xFF at byte 10 of the line" in report.as_dict()["skipped"][0]["reason"]


def test_a_torn_last_line_is_told_from_bad_json(write, skim):
    assert skim(write("a.jsonl", GOOD + GOOD[:9]))[1].reasons == {"torn-line": 1}
    assert skim(write("b.jsonl", GOOD + GOOD.rstrip()))[1].documents == 2
    assert skim(write("c.jsonl", GOOD + GOOD[:9] + "\n"))[1].reasons == {"bad-json": 1}


def test_blank_lines_are_no_fault_and_empty_texts_are_counted(write, skim):
    documents, report = skim(write("a.jsonl", "\n \r\n" + GOOD + '\n{"text": ""}\n\n'))
    assert [(d.line, d.text) for d in documents] == [(3, "good")]
    assert (report.empty, report.bad) == (1, 0)


def test_paired_surrogates_are_one_character(write, skim):
    assert skim(write("a.jsonl", '{"text": "\\ud83d\\ude00"}\n'))[0][0].text == "😀"


def test_the_field_is_found_by_name_or_asked_for(write, skim):
    path = write("a.jsonl", '{"id": 1, "content": "c", "other": "o"}\n' * 2)
    assert [d.text for d in skim(path)[0]] == ["c", "c"]
    assert [d.text for d in skim(path, text_field="other")[0]] == ["o", "o"]
    reason = skim(path, text_field="txet")[1].as_dict()["skipped"][0]["reason"]
    assert "'txet'" in reason
    assert "'content'" in reason


def test_the_field_that_was_found_is_kept_for_the_file(write, skim):
    _, report = skim(write("a.jsonl", '{"content": "c"}\n{"text": "t"}\n'))
    assert (report.documents, report.reasons) == (1, {"missing-field": 1})


def test_csv_cells_may_hold_line_ends_and_rows_know_where_they_start(write, skim):
    path = write("a.csv", 'id,text\r\n1,"two\nlines"\r\n2,"a ""quote"""\r\n\r\n3,plain')
    rows = [(d.line, d.text) for d in skim(path)[0]]
    assert rows == [(2, "two\nlines"), (4, 'a "quote"'), (6, "plain")]


@pytest.mark.parametrize(
    ("row", "said"),
    [("1,2,3", "3 cells, the header has 2"), ("1", "1 cells"), ('1,"a"b', "expected after")],
)
def test_a_faulty_row_is_named_and_the_rest_is_read(write, skim, row, said):
    documents, report = skim(write("a.csv", f"id,text\n1,a\n{row}\n2,b\n"))
    assert [d.text for d in documents] == ["a", "b"]
    assert report.reasons == {"bad-csv": 1}
    assert report.as_dict()["skipped"][0]["first"] == "a.csv:3"
    assert said in report.as_dict()["skipped"][0]["reason"]


def test_a_csv_row_in_another_encoding_costs_one_row(write, skim):
    documents, report = skim(write("a.csv", b"text\na\nb\xe9\nc\n"))
    assert [d.text for d in documents] == ["a", "c"]
    assert report.as_dict()["skipped"][0]["first"] == "a.csv:3"


def test_a_quote_that_is_never_closed_is_bounded_and_named(write, skim):
    path = write("a.csv", 'text\na\n"b\n' + "c\n" * 1000)
    assert skim(path)[1].reasons == {"bad-csv": 1}
    documents, report = skim(path, max_record_bytes=100)
    assert "field larger than" in report.as_dict()["skipped"][0]["reason"]
    assert documents[0].text == "a"


@pytest.mark.parametrize("header", ["title,body2", "text,text", ""])
def test_a_csv_without_a_usable_header_is_refused(write, skim, header):
    documents, report = skim(write("a.csv", header + "\n1,2\n3,4\n"))
    assert documents == []
    assert report.bad == 1


def parquet(write, name, table, **options):
    path = write(name, b"")
    pq.write_table(table, path, **options)
    return path


def test_parquet_rows_are_documents_over_all_row_groups(write, skim):
    texts = [f"row {n}\0😀" for n in range(3000)]
    table = pa.table({"id": list(range(3000)), "text": texts})
    path = parquet(write, "a.parquet", table, row_group_size=700)
    documents, report = skim(path)
    assert [d.text for d in documents] == texts
    assert [d.line for d in documents] == list(range(1, 3001))
    assert report.bad == 0


def test_parquet_faults_are_named_by_row(write, skim):
    raw = pa.array(["ok", None, "", "long" * 30, "bad"])
    data = raw.buffers()[2].to_pybytes()[:-1] + b"\xff"
    broken = pa.Array.from_buffers(raw.type, len(raw), [*raw.buffers()[:2], pa.py_buffer(data)])
    path = parquet(write, "a.parquet", pa.table({"text": broken}))
    documents, report = skim(path, max_record_bytes=100)
    assert [d.text for d in documents] == ["ok"]
    assert report.empty == 1
    places = {(row["kind"], row["first"]) for row in report.as_dict()["skipped"]}
    assert places == {
        ("null-text", "a.parquet:2"),
        ("long-line", "a.parquet:4"),
        ("encoding", "a.parquet:5"),
    }


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PAR1 and rubbish PAR1", "bad-parquet"),
        (b"", "bad-parquet"),
        (b"plain text", "bad-parquet"),
    ],
)
def test_a_damaged_parquet_file_is_one_fault(write, skim, content, kind):
    assert skim(write("a.parquet", content))[1].reasons == {kind: 1}


def test_a_cut_off_parquet_file_is_one_fault(write, skim):
    path = parquet(write, "a.parquet", pa.table({"text": ["x" * 100] * 1000}))
    path.write_bytes(path.read_bytes()[:-20])
    assert skim(path)[1].reasons == {"bad-parquet": 1}


def test_a_parquet_column_of_numbers_is_refused_by_its_type(write, skim):
    report = skim(parquet(write, "a.parquet", pa.table({"text": [1, 2]})))[1]
    assert "int64" in report.as_dict()["skipped"][0]["reason"]
    report = skim(parquet(write, "b.parquet", pa.table({"x": ["a"]})))[1]
    assert report.reasons == {"missing-field": 1}


def test_a_parquet_column_that_expands_enormously_is_refused(write, skim):
    table = pa.table({"text": ["x" * 1_000_000 + str(n) for n in range(30)]})
    path = parquet(write, "a.parquet", table, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 200_000
    assert skim(path)[1].reasons == {"bomb": 1}


MEASURE = """
import sys
from ownlm.data.config import DataConfig
from ownlm.data.corpus import Corpus
print(Corpus(sys.argv[1], DataConfig()).scan().documents)
print(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_values_that_a_parquet_file_repeats_are_not_all_held(write):
    """400 MB of text in 12 MB of file: without its dictionary a batch would hold all of it."""
    texts = [f"{'x' * 4_000_000} {number % 3}" for number in range(100)]
    path = parquet(write, "a.parquet", pa.table({"text": texts}), compression=None)
    assert path.stat().st_size < 13_000_000
    command = [sys.executable, "-c", MEASURE, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    documents, kilobytes = map(int, done.stdout.split())
    assert documents == 100
    assert kilobytes < 400_000


def test_without_pyarrow_the_error_names_the_pip_command(write, monkeypatch):
    path = parquet(write, "a.parquet", pa.table({"text": ["a"]}))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'ownlm\[data\]'"):
        Corpus(str(path), DataConfig()).scan()


def test_real_rows_are_read(shared_data, skim):
    path = shared_data / "summarise" / "dialogsum.dev.jsonl"
    with open(path, encoding="utf-8") as file:
        expected = [json.loads(line)["dialogue"] for line in file]
    assert [d.text for d in skim(path, text_field="dialogue")[0]] == expected
    films, report = skim(
        shared_data / "bench" / "crows_pairs_anonymized.csv", text_field="sent_more"
    )
    assert (len(films), report.bad) == (1508, 0)
