"""What a text must look like: schemas and expressions of clients, within limits."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ownlm.inference.request import Constraint
from ownlm.serving.protocol.body import Function, JsonSchema, Structured
from ownlm.serving.refusal import Refusal, bad

DEEPEST = 32
"""Levels of a schema."""
_REF = "#/$defs/"


def any_object() -> Constraint:
    """JSON mode."""
    return Constraint("json", json.dumps({"type": "object"}))


def of_schema(schema: Mapping[str, Any], limit: int, param: str) -> Constraint:
    """A schema within `limit` bytes; 400 otherwise."""
    if depth(schema) > DEEPEST:
        raise bad(f"{param}: deeper than {DEEPEST} levels, which is the limit", param)
    text = json.dumps(schema)
    check_size(text, limit, param)
    return Constraint("json", text)


def of_named(named: JsonSchema | None, limit: int, param: str) -> Constraint:
    """The schema of a response_format."""
    if named is None or named.schema_ is None:
        raise bad(f"{param}: required", param, "missing_required_parameter")
    return of_schema(named.schema_, limit, param)


def of_structured(given: Structured, limit: int) -> Constraint:
    """vLLM's words for the same; exactly one of them."""
    param = "structured_outputs"
    found = {key: value for key, value in given.model_dump().items() if value is not None}
    if len(found) != 1:
        raise bad(f"{param}: expected one of json, regex, choice, grammar", param)
    if given.choice is not None:
        check_size("".join(given.choice), limit, f"{param}.choice")
        return Constraint("choice", choices=tuple(given.choice))
    if given.regex is not None:
        check_size(given.regex, limit, f"{param}.regex")
        return Constraint("regex", given.regex)
    if given.grammar is not None:
        check_size(given.grammar, limit, f"{param}.grammar")
        return Constraint("grammar", given.grammar)
    return of_schema(_parsed(given.json_, f"{param}.json"), limit, f"{param}.json")


def of_tools(
    tools: Sequence[Function], limit: int, otherwise: Mapping[str, Any] | None = None
) -> Constraint:
    """A call of one of these functions as JSON, or what the schema `otherwise` says."""
    defs: dict[str, Any] = {}
    calls = []
    for number, tool in enumerate(tools):
        given: Any = tool.parameters or {"type": "object"}
        if depth(given) > DEEPEST:
            raise bad(f"tools.{number}: deeper than {DEEPEST} levels, which is the limit", "tools")
        calls.append(_call(tool.name, _hoisted(given, f"t{number}_", defs)))
    if otherwise is not None:
        calls.append(_hoisted(otherwise, "answer_", defs))
    schema = calls[0] if len(calls) == 1 else {"anyOf": calls}
    return of_schema(schema | ({"$defs": defs} if defs else {}), limit, "tools")


def check_size(text: str, limit: int, param: str) -> None:
    """400 for more bytes than are allowed."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > limit:
        raise Refusal(400, f"{param}: {size} bytes, {limit} is the limit", param=param)


def depth(value: Any) -> int:
    """Levels of nesting, however many there are."""
    deepest, rest = 0, [(value, 1)]
    while rest:
        inner, level = rest.pop()
        deepest = max(deepest, level)
        if level > 2 * DEEPEST:
            return level
        if isinstance(inner, dict):
            rest += [(one, level + 1) for one in inner.values()]
        elif isinstance(inner, list):
            rest += [(one, level + 1) for one in inner]
    return deepest


def _parsed(given: str | Mapping[str, Any] | None, param: str) -> Mapping[str, Any]:
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            raise bad(f"{param}: no JSON", param) from None
    if not isinstance(given, Mapping):
        raise bad(f"{param}: expected a schema, an object", param)
    return given


def _call(name: str, parameters: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"name": {"const": name}, "arguments": parameters},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _hoisted(schema: Mapping[str, Any], prefix: str, defs: dict[str, Any]) -> dict[str, Any]:
    """A schema whose definitions are put into `defs` under names of their own."""
    own = {key: value for key, value in schema.items() if key != "$defs"}
    inside = schema.get("$defs", {})
    if not isinstance(inside, Mapping):
        raise bad("$defs: expected an object", "tools")
    for name, inner in inside.items():
        defs[prefix + name] = _renamed(inner, prefix)
    found: dict[str, Any] = _renamed(own, prefix)
    return found


def _renamed(value: Any, prefix: str) -> Any:
    if isinstance(value, dict):
        return {
            key: _REF + prefix + inner.removeprefix(_REF)
            if key == "$ref" and isinstance(inner, str) and inner.startswith(_REF)
            else _renamed(inner, prefix)
            for key, inner in value.items()
        }
    return [_renamed(one, prefix) for one in value] if isinstance(value, list) else value
