"""A word a line: CoNLL, CoNLL-U, PropBank; chunks in any scheme become B- and I-."""

import pytest

from ownlm.data.tasks.tagged import as_bio, is_chunks

CONLLU = """# newdoc id = d1
# text = Don't go
1-2\tDon't\t_\t_\t_\t_\t_\t_\t_\t_
1\tDo\tdo\tAUX\tVB\t_\t3\taux\t_\t_{0}
2\tn't\tnot\tPART\tRB\t_\t3\tadvmod\t_\t_{1}
3\tgo\tgo\tVERB\tVB\t_\t0\troot\t_\t_{2}
3.1\tx\t_\t_\t_\t_\t_\t_\t_\t_
"""


def test_conll_with_tabs_or_spaces_and_documents(put, read):
    for name, text in (("a.conll", "EU\tB-ORG\nsaid\tO\n\t\nYes\tO\n"),
                       ("b.conll", "-DOCSTART- -X- O O\n\n"
                        "EU NNP I-NP B-ORG\nsaid VB O O\n\nYes UH O O")):  # fmt: skip
        data = read(put(name, text), "tag")
        assert [(one.words, one.tags) for one in data.records] == [
            (("EU", "said"), ("B-ORG", "O")), (("Yes",), ("O",))]  # fmt: skip
        assert len({one.group for one in data.records}) == 1
    assert data.records[0].group


def test_uneven_and_empty_cells_name_their_line(put, read):
    data = read(put("a.conll", "a\tO\n\nb\n\nc\tO\nd\t\n\ne\tO\n"), "tag")
    found = [(one.kind, one.place) for one in data.faults]
    assert found == [("uneven", "3"), ("no-label", "6")]
    assert [one.words for one in data.records] == [("a",), ("e",)]


def test_conllu_reads_words_not_their_groups(put, read):
    path = put("a.conllu", CONLLU.format("", "", ""))
    (record,) = read(path, "tag").records
    assert (record.words, record.tags) == (("Do", "n't", "go"), ("AUX", "PART", "VERB"))
    assert record.group == "d1"
    (record,) = read(path, "tag", label_column="xpos").records
    assert record.tags == ("VB", "RB", "VB")


def test_roles_are_a_record_a_predicate(put, read):
    text = CONLLU.format("\tdo.01\tV\t_", "\t_\t_\tARGM-NEG", "\tgo.02\tARG1\tV")
    data = read(put("a.conllu", text), "tag")
    assert not data.faults
    assert [(one.predicate, one.tags) for one in data.records] == [
        (0, ("V", "O", "ARG1")), (2, ("O", "ARGM-NEG", "V"))]  # fmt: skip
    assert len(set(data.splits)) == 1


@pytest.mark.parametrize(("tags", "read", "mended"), [
    ("B-X I-X O B-Y", "B-X I-X O B-Y", 0),
    ("O I-X I-X I-Y B-Y", "O B-X I-X B-Y B-Y", 2),  # IOB1
    ("S-X B-Y I-Y E-Y U-Z B-Z L-Z", "B-X B-Y I-Y I-Y B-Z B-Z I-Z", 0),
    ("O E-X", "O B-X", 1),
])  # fmt: skip
def test_schemes(tags, read, mended):
    assert as_bio(tags.split()) == (read.split(), mended)


def test_only_chunks_are_chunks():
    assert is_chunks(["O", "B-X"]) and not is_chunks(["O"]) and not is_chunks(["NOUN", "B-X"])


def test_repairs_are_counted_and_shown(put, read):
    data = read(put("a.conll", "a\tI-X\nb\tI-X\n\nc\tB-X\n"), "tag")
    assert data.records[0].tags == ("B-X", "I-X")
    (line,) = data.notes.lines()
    assert line.startswith("1 chunks that began with I-, read as B-") and "a.conll:1" in line
