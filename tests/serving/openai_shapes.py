"""Answers against OpenAI's types: nothing missing, nothing of another type, no unknown value."""

import json
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter

T = TypeVar("T", bound=BaseModel)

OWN = {"system_fingerprint"}


def valid(kind: type[T], content: Any) -> T:
    """The content as this type, checked strictly; JSON has no NaN."""
    text = json.dumps(content, allow_nan=False)
    made = TypeAdapter(kind).validate_json(text, strict=True)
    _no_extras(made, kind.__name__)
    return made


def _no_extras(made: Any, where: str) -> None:
    """Types of openai-python let pass what they do not know: we do not."""
    if isinstance(made, BaseModel):
        assert not made.model_extra, f"{where}: unknown {sorted(made.model_extra)}"
        for name, value in made:
            _no_extras(value, f"{where}.{name}")
    elif isinstance(made, list):
        for place, value in enumerate(made):
            _no_extras(value, f"{where}[{place}]")
