"""D3, D4, D6: lines, huge lines, NUL, bombs, cut-off and joined compressed files."""

import gzip
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.data import streams
from ownlm.data.config import DataConfig
from ownlm.data.corpus import Corpus
from ownlm.errors import ConfigError

PACK = {".gz": gzip.compress, ".zst": zstandard.compress}
LINES = "".join(f'{{"text": "row {n}"}}\n' for n in range(20_000)).encode()


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(1, 70))
def test_lines_do_not_depend_on_chunks(data, size):
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    whole = data.removeprefix(b"\xef\xbb\xbf") if len(parts[:1]) == 1 and size >= 3 else data
    expected = whole.split(b"\n")
    expected = expected[:-1] if not expected[-1] else expected
    found = list(streams.lines(iter(parts), 100))
    assert [line.data for line in found] == expected
    assert [line.number for line in found] == list(range(1, len(expected) + 1))
    assert all(line.ended for line in found[:-1])
    assert not found or found[-1].ended == data.endswith(b"\n")


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), max_size=12), st.integers(1, 20), st.integers(1, 20))
def test_only_long_lines_are_lost_whatever_the_chunks(lengths, longest, size):
    data = b"".join(b"x" * n + b"\n" for n in lengths)
    parts = (data[i : i + size] for i in range(0, len(data), size))
    found = [line.data for line in streams.lines(parts, longest)]
    assert found == [b"x" * n if n <= longest else None for n in lengths]


@settings(deadline=None)
@given(st.text(max_size=80), st.integers(1, 40))
def test_decoding_does_not_depend_on_chunks(text, size):
    data = text.encode("utf-8")
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    start = "\ufeff" if text.startswith("\ufeff") and size >= 3 else ""
    assert start + "".join(streams.text(iter(parts), 1000)) == text


def test_only_line_feed_ends_a_line(write, skim):
    odd = "a\u2028b\u2029c\x0bd\x0ce\x85f\x1cg"
    plain = "a\u2028b\u2029c\x85d"  # JSON forbids the control characters
    write("a.jsonl", f'{{"text": "{plain}"}}\n')
    write("b.csv", f'text\n"{odd}\nnext"\n')
    documents, report = skim(write("c.txt", odd + "\r\nx").parent)
    assert [(d.line, d.text) for d in documents] == [
        (1, plain),
        (2, odd + "\nnext"),
        (0, odd + "\r\nx"),
    ]
    assert report.bad == 0


def test_nul_is_kept_and_never_truncates(write, skim):
    write("a.jsonl", '{"text": "one\\u0000two"}\n')
    write("b.csv", "text\none\0two\n")
    documents, _ = skim(write("c.txt", "one\0two\0").parent)
    assert [d.text for d in documents] == ["one\0two", "one\0two", "one\0two\0"]


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_a_line_that_is_too_long_is_a_bad_record_at_its_number(write, skim, name):
    rows = {"a.jsonl": '{"text": "ok"}\n', "a.csv": "text\nok\n", "a.txt": "ok\n"}[name]
    path = write(name, rows + "x" * 5000 + "\n" + rows.splitlines()[-1] + "\n")
    documents, report = skim(path, max_record_bytes=4999)
    line = rows.count("\n") + 1
    assert report.as_dict()["skipped"][0]["first"] == f"{name}:{line}"
    assert report.reasons == {"long-line": 1}
    assert [d.text for d in documents] == ([] if name == "a.txt" else ["ok", "ok"])


MEASURE = """
import sys
from ownlm.data.config import DataConfig
from ownlm.data.corpus import Corpus
corpus = Corpus(sys.argv[1], DataConfig(bad="skip", max_bad_fraction=1.0))
report = corpus.scan()
status = open("/proc/self/status").read()
peak = int(status.split("VmHWM:")[1].split()[0]) // 1024
print(report.bad, report.documents, report.reasons, peak)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_one_line_of_a_gigabyte_is_refused_in_500_megabytes(write):
    """The files are sparse: after some text, a gigabyte of NUL, which is text too."""
    write("ok.txt", "fine")
    for name in ("a.txt", "a.jsonl"):
        with open(write(name, "x" * 10_000), "r+b") as file:
            file.truncate(1 << 30)
    folder = str(write("b.jsonl", '{"text": "fine"}\n').parent)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, folder], capture_output=True, text=True, check=True
    )
    bad, documents, *reasons, peak = done.stdout.split()
    assert (bad, documents, " ".join(reasons)) == ("2", "2", "Counter({'long-line': 2})")
    assert int(peak) < 500


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_compressed_text_equals_plain_text(write, skim, ending):
    write("a.jsonl" + ending, PACK[ending](LINES))
    write("b.csv" + ending, PACK[ending](b"text\n" + "ä\n".encode() * 3))
    documents, report = skim(write("c.txt" + ending, PACK[ending](LINES)).parent)
    assert [d.text for d in documents[:2]] == ["row 0", "row 1"]
    assert "".join(d.text for d in documents if d.path.startswith("c")) == LINES.decode()
    assert (report.documents, report.bad) == (20_004, 0)


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_several_members_are_one_file(write, skim, ending):
    half = LINES.index(b"\n", len(LINES) // 2) + 5  # inside a line
    members = [PACK[ending](part) for part in (LINES[:half], b"", LINES[half:])]
    if ending == ".zst":  # a frame to be skipped, as pzstd writes them
        members.insert(1, b"\x50\x2a\x4d\x18\x04\x00\x00\x00skip")
    path = write("a.jsonl" + ending, b"".join(members))
    assert skim(path)[1].documents == 20_000


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize("lost", [1, 4, 0.5])
def test_a_cut_off_file_is_refused_and_rows_before_the_cut_are_kept(write, skim, ending, lost):
    data = PACK[ending](LINES)
    data = data[: -lost if isinstance(lost, int) else len(data) // 2]
    rows, report = skim(write("a.jsonl" + ending, data))
    assert report.reasons == {"truncated": 1}
    assert 0 < len(rows) <= 20_000
    assert [d.text for d in rows] == [f"row {n}" for n in range(len(rows))]
    text, report = skim(write("b.txt" + ending, data))
    assert (text, report.reasons) == ([], {"truncated": 1})


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_flipped_bit_is_noticed(write, skim, ending):
    data = bytearray(zstandard.ZstdCompressor(write_checksum=True).compress(LINES))
    data = data if ending == ".zst" else bytearray(gzip.compress(LINES))
    data[len(data) // 2] ^= 0x10
    assert skim(write("a.txt" + ending, bytes(data)))[1].reasons == {"compression": 1}


@pytest.mark.parametrize("ending", [".gz", ".zst"])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv"])
def test_a_bomb_is_stopped_long_before_its_end(write, skim, ending, name):
    data = PACK[ending](b"text\n" + (b" " * 65_535 + b"\n") * 2000)
    assert len(data) * 900 < 2000 << 16
    report = skim(write(name + ending, data), max_record_bytes=1 << 20)[1]
    assert report.reasons["bomb"] == 1
    assert report.bytes < 40_000_000


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_compressed_line_without_end_is_refused_in_bounded_memory(write, skim, ending):
    path = write("a.jsonl" + ending, PACK[ending](b"[" * 50_000_000))
    assert set(skim(path)[1].reasons) <= {"bomb", "long-line"}


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("plain.txt.gz", b"plain text", "not sound gzip data"),
        ("plain.txt.zst", b"plain text", "not sound zstd data"),
        ("packed.txt", gzip.compress(b"text", mtime=0), "gzip data (name it .gz)"),
        ("packed.jsonl", zstandard.compress(b"text"), "zstd data (name it .zst)"),
        ("twice.txt.gz", gzip.compress(gzip.compress(b"text", mtime=0), mtime=0), "gzip data"),
        ("tail.txt.gz", gzip.compress(b"text", mtime=0) + b"rubbish", "not sound gzip data"),
        ("tail.txt.zst", zstandard.compress(b"text") + b"rubbish", "not sound zstd data"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_wrong_ending_is_named(write, skim, name, data, said):
    documents, report = skim(write(name, data))
    assert documents == []
    assert said in report.as_dict()["skipped"][0]["reason"]


def test_without_zstandard_the_error_names_the_pip_command(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    corpus = Corpus(str(write("a.txt.zst", zstandard.compress(b"text"))), DataConfig())
    with pytest.raises(ConfigError, match=r"pip install 'ownlm\[data\]'"):
        corpus.scan()
