"""Tables: delimiter, quotes, header and columns are those a person would see."""

import pytest

from ownlm.errors import DataError

ROWS = [("a first text", "good"), ("another, with a comma", "bad"), ("third one", "good"),
        ("fourth one", "bad"), ("fifth of them", "good")]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "comma"), [("a.csv", ","), ("a.csv", ";"), ("a.tsv", "\t"), ("a.txt", "\t")]
)
@pytest.mark.parametrize("header", ["", "text{}label\n", "Bewertung{}Urteil\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_table_is_read_whatever_its_dress(put, read, name, comma, header, end, mark):
    lines = [f'"{text}"{comma}{label}' if comma != "\t" else f"{text}{comma}{label}"
             for text, label in ROWS * 2]  # fmt: skip
    content = (header.format(comma) + "\n".join(lines) + "\n").replace("\n", end)
    data = read(put(name, mark + content.encode()))
    assert not data.faults
    assert [(one.text, one.labels[0]) for one in data.records] == ROWS * 2
    assert data.records[0].origin.place == ("2" if header else "1")


def test_cells_with_line_ends_keep_them_and_the_lines_of_rows(put, read):
    data = read(put("a.csv", 'text,label\n"two\nlines ""here""",x\nlast,y\n'))
    assert [one.text for one in data.records] == ['two\nlines "here"', "last"]
    assert [one.origin.place for one in data.records] == ["2", "4"]


def test_quotes_between_tabs_are_text_unless_a_column_is_quoted(put, read):
    plain = read(put("a.tsv", 'ham\t"Hi" she said\nspam\t"Win"\nham\t5" wide\nspam\tcall\n' * 2))
    assert plain.records[0].text == '"Hi" she said' and plain.records[1].text == '"Win"'
    quoted = read(put("b.tsv", 'label\ttext\nham\t"one\tcell"\nspam\t"two\nlines"\n'))
    assert [one.text for one in quoted.records] == ["one\tcell", "two\nlines"]


def test_uneven_and_broken_rows_are_faults_with_their_lines(put, read):
    data = read(
        put("a.csv", 'text,label\nfine,x\nno, quotes, here,x\nalso fine,y\n"never closed,y\n')
    )
    assert [(one.place, one.kind) for one in data.faults] == [("5", "bad-csv"), ("3", "uneven")]
    assert "4 cells where the table has 2" in data.faults[1].reason
    with pytest.raises(DataError, match=r"a\.csv:3"):
        data.require_sound()


def test_a_name_twice_in_the_header_can_still_be_asked_for_by_number(put, read):
    path = put("a.csv", "text,label,text\nfirst,x,second\nthird,y,fourth\n")
    data = read(path, text_column="3")
    assert [one.text for one in data.records] == ["second", "fourth"]
    assert "twice" in data.parts[0].reading.described
    with pytest.raises(DataError, match="no column 'text'"):
        read(path, text_column="text")


@pytest.mark.parametrize(("content", "values", "words"), [
    ("text,label\na b,x\n", {"label_column": "lable"}, "nearest is 'label'"),
    ("text,body,label\na b,c d,x\ne f,g h,y\n", {}, "several columns could be the text"),
    ("title,lead,kind\n" + "".join(f"t {n},l {n},{n % 2}\n" for n in range(9)), {}, "--data.text"),
    ("text,label\n" + "".join(f"text {n},label {n}\n" for n in range(99)), {}, "no labels"),
    ("text,label\na,x\nb,x\n", {}, "nothing to tell apart"),
    ("a;b|c\nd;e|f\n", {}, "semicolon or bar"),
    ("", {}, "nothing but empty files"),
])  # fmt: skip
def test_what_cannot_be_told_is_refused_with_the_choice(put, read, content, values, words):
    with pytest.raises(DataError) as caught:
        read(put("a.csv", content), **values)
    assert words in str(caught.value)


@pytest.mark.parametrize(("content", "kind", "place"), [
    (b"text,label\ncaf\xe9,x\nfine,y\nfine too,x\n", "encoding", "2"),
    (b"text,label\n" + b"a" * 3000 + b",x\nfine,y\nfine too,x\n", "long-line", "2"),
    (b"text,label\n ,x\nfine,y\nfine too,x\n", "empty-text", "2"),
    (b"text,label\na,\nfine,y\nfine too,x\n", "no-label", "2"),
    (b"text,label\na,z\nfine,y\nfine too,x\n", "unknown-label", "2"),
])  # fmt: skip
def test_a_bad_cell_costs_its_own_row_only(put, read, content, kind, place):
    data = read(put("a.csv", content), max_record_bytes=1000, labels=["x", "y"])
    assert [(one.kind, one.place) for one in data.faults] == [(kind, place)]
    assert [one.text for one in data.records] == ["fine", "fine too"]


def test_nul_and_line_separators_are_text(put, read):
    data = read(put("a.csv", "text,label\na\0b,x\nc\u2028d,y\n"))
    assert [one.text for one in data.records] == ["a\0b", "c\u2028d"]


def test_several_labels_in_one_cell(put, read):
    data = read(put("a.csv", "text,label\na,x|y\nb,z\n"), label_separator="|")
    assert [one.labels for one in data.records] == [("x", "y"), ("z",)]


def test_pairs_and_scores_by_the_names_of_columns(put, read):
    path = put("a.tsv", "id\tsentence_A\tsentence_B\trelatedness_score\tgold_label\n"
                        "1\ta cat\ta dog\t2.5\tno\n2\tx\ty\tnan\tyes\n")  # fmt: skip
    both = read(path, "pair")
    assert [(one.text, one.pair, one.labels) for one in both.records] == [
        ("a cat", "a dog", ("no",)), ("x", "y", ("yes",))]  # fmt: skip
    scored = read(path, "regress")
    assert [(one.text, one.pair, one.score) for one in scored.records] == [("a cat", "a dog", 2.5)]
    assert scored.faults[0].kind == "no-number" and scored.faults[0].place == "3"
