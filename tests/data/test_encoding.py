"""D1: wrong encodings and binary files are refused with path:offset and the name of the type."""

import sys
from typing import Any

import pytest

from ownlm.data.config import DataConfig
from ownlm.data.corpus import Corpus
from ownlm.errors import DataError


def refusal(path: Any) -> str:
    with pytest.raises(DataError) as caught:
        Corpus(str(path), DataConfig()).scan()
    assert caught.value.exit_code == 3
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.py", "a.jsonl", "a.csv"])
@pytest.mark.parametrize(
    ("codec", "said"),
    [
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16LE"),
        ("utf-16-be", "UTF-16BE"),
        ("utf-32", "UTF-32"),
    ],
)
def test_wide_text_is_named_with_the_command_that_converts_it(write, name, codec, said):
    message = refusal(write(name, "Some plain western text.\nAnd a second line.\n".encode(codec)))
    assert f"{name}:0: {said} text" in message
    assert f"iconv -f {said} -t UTF-8" in message


def test_latin_1_is_named_at_its_first_wrong_byte(write):
    text = "Le café est agréable à Noël, où l'été fut bref.\n" * 5
    message = refusal(write("a.txt", text.encode("latin-1")))
    assert "a.txt:6: not UTF-8 (byte 0xE9 at offset 6), hard to tell, perhaps" in message
    assert "iconv -f" in message


def test_an_encoding_that_is_certain_is_named_so(write):
    text = "却说天下大势，分久必合，合久必分。" * 20
    assert "looks like GB18030; convert" in refusal(write("a.txt", text.encode("gb18030")))


def test_without_chardet_the_likeliest_encoding_is_still_named(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "chardet", None)
    message = refusal(write("a.txt", "café au lait".encode("latin-1")))
    assert "Latin-1" in message
    assert "pip install 'ownlm[data]'" in message


@pytest.mark.parametrize("mebibytes", [0, 1, 3])
def test_the_offset_is_right_beyond_the_first_chunk(write, mebibytes):
    good = ("ä" * 511 + "\n") * 1025 * mebibytes  # lines of 1,023 bytes: chunks end inside an ä
    message = refusal(write("a.txt", good.encode() + b"abc \xff def"))
    assert f"a.txt:{len(good.encode()) + 4}: not UTF-8 (byte 0xFF at" in message


def test_the_offset_counts_the_byte_order_mark(write):
    assert "a.txt:5: not UTF-8" in refusal(write("a.txt", b"\xef\xbb\xbfab\xffcd"))


def test_text_that_ends_inside_a_character_is_refused(write):
    assert "a.txt:3: ends inside a UTF-8 character" in refusal(
        write("a.txt", "abc😀".encode()[:-1])
    )


def test_utf_8_byte_order_mark_is_dropped_and_only_the_first(write, skim):
    write("a.txt", b"\xef\xbb\xbfone\xef\xbb\xbf")
    write("b.jsonl", b'\xef\xbb\xbf{"text": "two"}\n')
    write("c.csv", b"\xef\xbb\xbftext\nthree\n")
    documents, report = skim(write("d.txt", b"\xef\xbb\xbf").parent)
    assert [d.text for d in documents] == ["one\ufeff", "two", "three"]
    assert (report.bad, report.empty) == (0, 1)


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"\x89PNG\r\n\x1a\n", "PNG image"),
        (b"%PDF-1.7\n", "PDF"),
        (b"PK\x03\x04\x14", "ZIP"),
        (b"\x7fELF\x02", "ELF"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\x80\x04\x95\x10", "pickle"),
    ],
)
def test_binary_files_are_named_by_their_type(write, head, said):
    message = refusal(write("a.txt", head + bytes(range(256))))
    assert "a.txt:0: not text but" in message
    assert said in message


def test_unknown_binary_data_is_told_from_text_in_another_encoding(write):
    assert "binary data" in refusal(write("a.txt", b"abc" + bytes(range(256)) * 8))
