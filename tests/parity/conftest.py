"""Reference models of transformers: tiny, random, written to disk once a session."""

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from decoder_cases import DECODERS, Case
from other_cases import ENCODERS, PAIRS

transformers = pytest.importorskip("transformers")

LENGTH = 320
"""Tokens of a parity input: far enough that stretched and slow rotary pairs show."""
LIMIT = 1e-5
"""Largest difference of any number, relative to the largest number."""


CASES: dict[str, Case] = {**DECODERS, **ENCODERS, **PAIRS}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`decoder` runs over all rows of DECODERS, `decoder, wrong` over what must be noticed."""
    for kind, cases in {"decoder": DECODERS, "encoder": ENCODERS, "pair": PAIRS}.items():
        names = metafunc.fixturenames
        if kind in names and "wrong" in names:
            rows = [(name, {k: v}) for name, case in cases.items() for k, v in case.wrong.items()]
            metafunc.parametrize(
                (kind, "wrong"), rows, ids=[f"{n}-{next(iter(w))}" for n, w in rows]
            )
        elif kind in names:
            metafunc.parametrize(kind, cases)
    if "built" in metafunc.fixturenames:
        rows = {
            name: case.built | {"family": name} for name, case in DECODERS.items() if case.built
        }
        metafunc.parametrize("built", rows.values(), ids=rows.keys())


def reference(name: str) -> Any:
    """A random reference model in evaluation mode, its norms and biases random too."""
    case = CASES[name]
    made = getattr(transformers, case.model)
    config = made.config_class(**case.values)
    torch.manual_seed(sum(name.encode()))
    model = made(config)
    around = 0.0 if "Gemma" in case.model else 1.0  # Gemma stores norms around zero
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(around if parameter.ndim == 1 else 0.0, 0.2)
    return model.eval()


@pytest.fixture
def off() -> Callable[[Any], Any]:
    """A function that copies our model, half a matrix of the last layer wrong by a hundredth.

    (A whole one would not show where a norm follows it.)
    """

    def wrong(model: Any) -> Any:
        copied = copy.deepcopy(model)
        with torch.no_grad():
            copied.stack.blocks[-1].ffn.body.down.weight[::2] *= 1.01
        return copied

    return wrong


Tell = Callable[[str, float, float], None]


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """A function that puts a row into the table at the end of the run, and checks it."""

    def told(row: str, difference: float, control: float) -> None:
        record_property("parity", (row, difference, control))
        assert difference < LIMIT, row
        assert control > 10 * LIMIT, f"{row}: the control passes"

    return told


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from a case's name to the folder that save_pretrained wrote for it."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name)
            reference(name).save_pretrained(made[name])
        return made[name]

    return folder
