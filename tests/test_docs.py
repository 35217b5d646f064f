"""docs/families.md: what is made from the code is as the code is, and no family is left out."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from ownlm.models.families import FAMILIES


@pytest.fixture(scope="module")
def families(repository: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("families", repository / "docs" / "families.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_made_parts_are_as_the_code_is(families: ModuleType) -> None:
    text = families.PAGE.read_text(encoding="utf-8")
    assert families.page(text) == text, "run: python docs/families.py"


def test_a_part_that_was_changed_is_noticed(families: ModuleType) -> None:
    """The control."""
    text = families.PAGE.read_text(encoding="utf-8")
    marked = text.index("<!-- made: llama -->")
    place = text.index("RMSNorm", marked)
    wrong = text[:place] + "LayerNorm" + text[place + len("RMSNorm") :]
    assert families.page(wrong) == text


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_its_paragraph(name: str, families: ModuleType) -> None:
    text = families.PAGE.read_text(encoding="utf-8")
    (story,) = re.findall(rf"^### {name}\n\n(.+)\n\n<!-- made: {name} -->$", text, re.M)
    assert len(story) > 80


def test_no_family_has_grown_long(repository: Path) -> None:
    """A family is one short file; nn/ may be larger, for all share it."""
    for path in (repository / "src" / "ownlm" / "models").glob("*.py"):
        if " = Family(" in (text := path.read_text(encoding="utf-8")) or " = decoder(" in text:
            assert len(text.splitlines()) < 150, path.name
