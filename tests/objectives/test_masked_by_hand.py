"""Masked language modelling: rows worked out by hand, draw by draw, for every unit and question.

A row draws an order of its units, then a number for each hidden token (below 0.8 it shows the
mask, below 0.9 another token, else itself), then those other tokens.
"""

import examples
import numpy as np
import pytest
from examples import Draws, ids, shown, texts, told

from ownlm.objectives.make import chinese_words
from ownlm.objectives.masked import Corruption, Masked, Unit
from ownlm.objectives.objective import IGNORE

TWO = ids("two")
"""What a token is replaced by where that is drawn."""
CHINESE = [0, 0, 1, 2, 2, 2, 2, 3, 3]
"""我们 在 北京大学 学习: which word each character is in."""


def masked(rate: float, unit: Unit = "token", **options) -> Masked:
    return Masked(examples.facts(examples.known()), Corruption(rate, unit=unit), **options)


@pytest.mark.parametrize(("unit", "order", "dice", "inputs", "targets"), [
    ("word", [9, 2], [0.1, 0.5, 0.85, 0.95],
     "[CLS] the man [MASK] up , put his basket on [MASK] two ##mon ' s head [SEP]",
     "- - - jumped - - - - - - phil ##am ##mon - - - -"),
    ("token", [9, 2, 7, 0], [0.1, 0.5, 0.85, 0.95],
     "[CLS] [MASK] man [MASK] up , put his two on phil ##am ##mon ' s head [SEP]",
     "- the - jumped - - - - basket - phil - - - - - -"),
])  # fmt: skip
def test_whole_words_by_hand(
    unit: Unit, order: list[int], dice: list[float], inputs: str, targets: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """BERT's own example: 15 tokens, 13 words, a quarter is 4 tokens. Word 9 is phil ##am ##mon,
    word 2 makes it 4; of tokens, number 9 is phil alone, and three more are hidden. Of the 18
    tokens of the window the last 3 make room for the marks."""
    told(monkeypatch, Draws(order, dice, TWO))
    given = texts("the man jumped up , put his basket on phil ##am ##mon ' s head . one two")
    batch = masked(0.25, unit).collate(given, Draws(5))
    assert shown(batch["inputs"]) == [inputs]
    assert shown(batch["targets"]) == [targets]
    assert batch["mask"].tolist() == [[1] * 17] and batch["types"].tolist() == [[0] * 17]


@pytest.mark.parametrize(("unit", "segmenter", "inputs", "targets"), [
    ("chinese", "told",
     "[CLS] 我 们 在 [MASK] [MASK] 大 two 学 习 [SEP]", "- - - - 北 京 大 学 - - -"),
    ("chinese", "jieba",
     "[CLS] 我 们 在 [MASK] [MASK] 大 two 学 习 [SEP]", "- - - - 北 京 大 学 - - -"),
    ("word", "told",
     "[CLS] [MASK] [MASK] 在 two 京 大 学 学 习 [SEP]", "- 我 们 在 北 - - - - - -"),
])  # fmt: skip
def test_chinese_words_by_hand(
    unit: Unit, segmenter: str, inputs: str, targets: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """我们 在 北京大学 学习: of 9 characters 0.45 are 4, and word 2 has 4. Where each character is
    a word (the control) number 2 is 在, and 0, 1 and 3 are hidden with it."""
    if segmenter == "jieba":
        pytest.importorskip("jieba")
    by_hand = {"jieba": chinese_words, "told": lambda _: lambda text: np.array(CHINESE)}[segmenter]
    words = by_hand(examples.known())
    assert words(ids("我 们 在 北 京 大 学 学 习")).tolist() == CHINESE
    told(monkeypatch, Draws([2], [0.1, 0.7, 0.9, 0.8], TWO))
    given = texts("我 们 在 北 京 大 学 学 习 the man one")
    batch = masked(0.45, unit, words=words).collate(given, Draws(5))
    assert shown(batch["inputs"]) == [inputs]
    assert shown(batch["targets"]) == [targets]


@pytest.mark.parametrize("dynamic", [True, False])
def test_static_masking_by_hand(dynamic: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two epochs, whose generators draw 7 and 8: what a row draws follows from where it begins,
    0 or 100, and only in dynamic masking (the control) from the epoch as well."""
    rows = [Draws([1], [0.1], []), Draws([2], [0.85], TWO)]
    keys = told(monkeypatch, *rows, Draws([0], [0.1], []), Draws([0], [0.1], []))
    given = texts("the man jumped up , put", "the man jumped up , put")
    objective = masked(0.34, dynamic=dynamic)
    batch = objective.collate(given, Draws(7))
    assert shown(batch["inputs"]) == ["[CLS] the [MASK] jumped [SEP]", "[CLS] the man two [SEP]"]
    assert shown(batch["targets"]) == ["- - man - -", "- - - jumped -"]
    objective.collate(given, Draws(8))
    epochs = (7, 8) if dynamic else (0, 0)
    assert keys == [(epoch, begin) for epoch in epochs for begin in (0, 100)]


TEXT = "the man jumped up . put his basket on phil ##am ##mon"
OTHER = "one two . three four five one two three four five up"


@pytest.mark.parametrize(("pairs", "draws", "inputs", "targets", "label"), [
    ("order", [5, 0.2, [2], [0.1], []],
     "[CLS] the man [MASK] up [SEP] put his basket on [SEP]", "- - - jumped - - - - - - -", 0),
    ("order", [5, 0.7, [2], [0.1], []],
     "[CLS] put his [MASK] on [SEP] the man jumped up [SEP]", "- - - basket - - - - - - -", 1),
    ("next", [5, 0.2, [2], [0.1], []],
     "[CLS] the man [MASK] up [SEP] put his basket on [SEP]", "- - - jumped - - - - - - -", 0),
    ("next", [5, 0.7, 3, [2], [0.1], []],
     "[CLS] the man [MASK] up [SEP] three four five one [SEP]", "- - - jumped - - - - - - -", 1),
])  # fmt: skip
def test_pairs_by_hand(
    pairs: str, draws: list, inputs: str, targets: str, label: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 tokens are cut in their middle half, 3 to 9, where the only sentence ends: at 5. From 0.5
    on the label is 1: both swapped (order), or 7 tokens of the other window from behind its full
    stop (next). 11 places less 3 marks leave 4 tokens for each segment; 0.15 of 8 is 1 hidden."""
    told(monkeypatch, Draws(*draws))
    given = texts(TEXT, partners=(OTHER,))
    batch = masked(0.15, pairs=pairs).collate(given, Draws(5))
    assert shown(batch["inputs"]) == [inputs]
    assert shown(batch["targets"]) == [targets]
    assert batch["types"].tolist() == [[0] * 6 + [1] * 5]
    assert batch["pair_labels"].tolist() == [[label] + [IGNORE] * 10]
    assert batch["pair_weights"].tolist() == [[1.0] + [0.0] * 10]
    assert batch["mask"].tolist() == [[1] * 11]


def test_two_pairs_in_a_row_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents of 8 tokens and of 12, cut behind their full stops, 3 and 5 + 5 and 7, the second
    swapped. The first pair takes 11 of 21 places; of the other 10 the marks take 3. Swapped, its
    segments of 7 and 5 are 5 too many: the longer loses 4, down to half of 7 (rounded down, 3),
    the other one. 0.15 of 8 and of 7 is 1 hidden; the document of two tokens is too short."""
    told(monkeypatch, Draws(3, 0.2, [7], [0.1], [], 5, 0.9, [0], [0.1], []))
    given = texts("one two . three four five up head | the man put his . on phil ##am ##mon '"
                  " one two | up up")  # fmt: skip
    batch = masked(0.15, pairs="order").collate(given, Draws(5))
    row = "[CLS] one two . [SEP] three four five up [MASK] [SEP] "
    assert shown(batch["inputs"]) == [row + "[CLS] [MASK] phil ##am [SEP] the man put his [SEP]"]
    assert shown(batch["targets"]) == ["- - - - - - - - - head - - on" + " -" * 8]
    assert batch["mask"].tolist() == [[1] * 11 + [2] * 10]
    assert batch["types"].tolist() == [[0] * 5 + [1] * 6 + [0] * 5 + [1] * 5]
    assert batch["pair_labels"][0, [0, 11]].tolist() == [0, 1]
    assert batch["pair_weights"][0, [0, 11]].tolist() == [1.0, 1.0]
