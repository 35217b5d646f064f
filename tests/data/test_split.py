"""Which text is kept apart: by documents or by tails, pure functions of the text."""

import pytest

from ownlm.data.config import DataConfig
from ownlm.data.corpus import measure
from ownlm.data.document import Document
from ownlm.data.report import CorpusReport
from ownlm.data.split import Split


def pieces(text, size):
    whole = measure([text])
    for part, start in enumerate(range(0, max(1, len(text)), size)):
        yield Document(text[start : start + size], "a", 0, part, whole)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 90, 100, 1000])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_the_tail_of_every_document_is_held_out_wherever_pieces_end(size, share):
    split = Split("tail", share)
    for text in ("0123456789" * 10, "ab", "x"):
        border = int(len(text) * (1 - share))
        parts = [part for piece in pieces(text, size) for part in split.parts(piece)]
        for name, expected in (("train", text[:border]), ("validation", text[border:])):
            mine = [part for part in parts if part.split == name]
            assert "".join(part.text for part in mine) == expected
            assert [part.begins for part in mine] == [n == 0 for n in range(len(mine))]


def test_whole_documents_are_held_out_by_their_text():
    split = Split("documents", 0.2)
    sides = {}
    for number in range(2000):
        parts = [p for piece in pieces(f"document {number}" * 3, 10) for p in split.parts(piece)]
        assert len({part.split for part in parts}) == 1
        assert [part.begins for part in parts] == [n == 0 for n in range(len(parts))]
        sides[number] = parts[0].split
    assert 330 < list(sides.values()).count("validation") < 470
    again = next(iter(split.parts(next(pieces("document 7" * 3, 1000)))))
    assert again.split == sides[7]


@pytest.mark.parametrize(
    ("documents", "held_out", "share", "kind"),
    [
        (199, 20, 0.1, "tail"),
        (200, 20, 0.1, "documents"),
        (200, 0, 0.0, "documents"),
        (200, 0, 0.1, "tail"),  # all equal, so all on one side
        (200, 200, 0.1, "tail"),
        (1, 0, 0.1, "tail"),
    ],
)
def test_auto_goes_by_the_number_of_documents(documents, held_out, share, kind):
    report = CorpusReport(documents=documents, held_out=held_out)
    assert Split.choose(DataConfig(validation=share), report).kind == kind
    assert Split.choose(DataConfig(split="documents"), report).kind == "documents"
