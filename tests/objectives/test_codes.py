"""Control codes: every window begins with the code of its source; codes are given, never said."""

import examples
import numpy as np
import pytest
import torch

from ownlm.errors import ConfigError
from ownlm.objectives.codes import ControlCodes
from ownlm.objectives.config import ObjectiveConfig
from ownlm.objectives.make import make_objective
from ownlm.objectives.objective import IGNORE

BOOKS, NEWS = 300, 301
"""Ids of two codes."""


def codes() -> ControlCodes:
    return ControlCodes(examples.facts(examples.bpe()), np.array([BOOKS, NEWS]))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_rows_by_hand() -> None:
    """A window within a book; one in which a book ends and the news begin; one that begins
    with the news' own code."""
    end = 299
    tokens = np.array([
        [10, 11, 12, 13, 14, 15, 16],
        [10, 11, end, NEWS, 20, 21, 22],
        [NEWS, 20, 21, 22, 23, 24, 25],
    ])  # fmt: skip
    documents = np.array([[1] * 7, [1, 1, 1, 2, 2, 2, 2], [1] * 7])
    given = examples.Rows(tokens, documents, np.arange(3), None, np.array([BOOKS, BOOKS, NEWS]))
    objective = codes()
    batch = objective.collate(given, rng())
    pad, no = objective.pad, IGNORE
    assert batch["inputs"].tolist() == [
        [BOOKS, 10, 11, 12, 13, 14, 15],
        [BOOKS, 10, 11, NEWS, 20, 21, pad],
        [NEWS, 20, 21, 22, 23, 24, pad],
    ]
    assert batch["targets"].tolist() == [
        [10, 11, 12, 13, 14, 15, 16],
        [10, 11, end, 20, 21, 22, no],
        [20, 21, 22, 23, 24, 25, no],
    ]
    assert batch["mask"].tolist() == [[1] * 7, [1, 1, 1, 2, 2, 2, 0], [1] * 6 + [0]]
    assert objective.window(8) == 7


def test_in_one_stream_no_code_is_learned_either() -> None:
    tokens = np.array([[10, 299, NEWS, 20, 21]])
    batch = codes().collate(
        examples.Rows(tokens, None, np.arange(1), None, np.array([BOOKS])), rng()
    )
    assert batch["inputs"].tolist() == [[BOOKS, 10, 299, NEWS, 20]]
    assert batch["targets"].tolist() == [[10, 299, IGNORE, 20, 21]]


def test_a_row_depends_on_itself_only() -> None:
    given = examples.rows(examples.bpe(), borders=(20,))
    given = given._replace(heads=np.array([BOOKS, NEWS, NEWS, BOOKS]))
    whole = codes().collate(given, rng(7))
    halves = [codes().collate(examples.part(given, *p), rng(7)) for p in ((0, 2), (2, 4))]
    for name, tensor in whole.items():
        assert torch.equal(tensor, torch.cat([half[name] for half in halves]))


def test_a_tokenizer_without_codes_is_refused() -> None:
    with pytest.raises(ConfigError, match="no control codes") as error:
        make_objective(ObjectiveConfig(kind="codes"), examples.bpe())
    assert "--data.codes" in error.value.next_command
