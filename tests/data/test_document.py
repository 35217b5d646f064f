"""D9 and long documents: pieces join to the text, and tokenise as if it had never been cut."""

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.data.document import PIECE, cut
from ownlm.tokenization.config import TokenizerConfig
from ownlm.tokenization.train import train_tokenizer

TEXT = st.text(st.sampled_from("ab \n\t\r é😀"), max_size=120)


@settings(deadline=None)
@given(TEXT, st.integers(1, 20), st.lists(st.integers(0, 120), max_size=5))
def test_pieces_join_to_the_text_whatever_parts_it_came_in(text, size, places):
    bounds = [0, *sorted(min(place, len(text)) for place in places), len(text)]
    parts = [text[a:b] for a, b in itertools.pairwise(bounds)]
    pieces = list(cut(parts, size))
    assert "".join(pieces) == text
    assert pieces == list(cut([text], size))
    assert all(0 < len(piece) <= size for piece in pieces) or pieces == [""]


def test_cuts_prefer_a_line_end_before_text_then_any_then_a_space():
    assert list(cut(["aa\nbb\n\n c\n"], 7)) == ["aa\n", "bb\n\n c\n"]
    assert list(cut(["aa\nbb\n  cc"], 7)) == ["aa\n", "bb\n  cc"]
    assert list(cut(["aa\n  bb cc"], 6)) == ["aa\n", "  bb", " cc"]
    assert list(cut(["aa bb cc"], 6)) == ["aa bb", " cc"]
    assert list(cut(["aaaaaaaa"], 3)) == ["aaa", "aaa", "aa"]
    assert list(cut([], 3)) == [""]


def test_tokens_of_pieces_are_those_of_the_whole_text():
    rng = random.Random(0)
    words = ["the", "cat", "don't", "42", "  indented", "end.\n", "\n\n", "\t", "—", "中文"]
    text = "".join(rng.choice(words) + rng.choice(["", " "]) for _ in range(30_000))
    tokenizer = train_tokenizer([text], TokenizerConfig(vocab_size=400))
    pieces = list(cut([text], 1000))
    assert len(pieces) > 100
    joined = [id for ids in tokenizer.encode_batch(pieces) for id in ids]
    assert joined == tokenizer.encode(text)
    blind = [text[start : start + 1000] for start in range(0, len(text), 1000)]
    assert [id for ids in tokenizer.encode_batch(blind) for id in ids] != joined


def test_long_files_come_in_pieces_of_one_document(write, skim):
    text = "".join(f"line {n}\n" for n in range(40_000))
    write("a.txt", text)
    row = '{"text": "' + "word " * 40_000 + '"}\n'
    documents, report = skim(write("b.jsonl", row).parent)
    assert report.documents == 2
    first = [d for d in documents if d.path == "a.txt"]
    assert "".join(d.text for d in first) == text
    assert [d.part for d in first] == list(range(len(text) // PIECE + 1))
    assert {d.whole for d in first} == {first[0].whole}
    assert first[0].whole.characters == first[0].whole.bytes == len(text)
    assert sum(d.path == "b.jsonl" for d in documents) == 200_000 // PIECE + 1


def test_every_character_arrives_as_it_was(write, skim):
    texts = [
        "👩‍👩‍👧‍👦🏳️‍🌈",
        "שלום עליכם",
        "\u202eמרחבא\u202c",
        "e\u0301 é",
        "ﬁ ½ Å Å",
        "\ufeffx",
        "\r\n\r",
        "\x00\x7f\x85",
    ]
    for number, text in enumerate(texts):
        write(f"{number}.md", "x" + text)
    documents, report = skim(write("z.txt", "z").parent)
    assert [d.text for d in documents] == ["x" + text for text in texts] + ["z"]
    assert report.bytes == sum(len(d.text.encode()) for d in documents)
