"""What a text must look like: schemas and expressions of clients, within limits."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ownlm.inference.constraint import SPACES
from ownlm.inference.request import Constraint
from ownlm.serving.protocol.body import Function, JsonSchema, Structured
from ownlm.serving.refusal import Refusal, bad
from ownlm.tokenization.calls import CallForm

DEEPEST = 32
"""Levels of a schema."""
SPACED = {"x-guidance": SPACES}


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
    tools: Sequence[Function],
    limit: int,
    form: CallForm | None = None,
    otherwise: Mapping[str, Any] | None = None,
) -> Constraint:
    """A call of one of these functions as the model's template writes it (None: the bare object),
    or what the schema `otherwise` says."""
    defs: dict[str, Any] = {}
    key = form.arguments if form else "arguments"
    calls = [_call(tool, key, number, defs) for number, tool in enumerate(tools)]
    if form is None or not form.before:
        answer = [] if otherwise is None else [_defined(otherwise, "answer", defs)]
        return of_schema(_any_of([*calls, *answer], defs), limit, "tools")
    before, after = (" ".join(map(_symbol, pieces)) for pieces in (form.before, form.after))
    lines = [f"start: {before} call {after}" + (" | answer" if otherwise is not None else "")]
    rules: dict[str, Mapping[str, Any] | None] = {"call": _any_of(calls, defs), "answer": otherwise}
    for name, schema in rules.items():
        if schema is not None:
            text = of_schema({**schema, **SPACED}, limit, "tools").text
            lines.append(f"{name}: %json {text}")
    return Constraint("grammar", "\n".join(lines))


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


def _call(tool: Function, key: str, number: int, defs: dict[str, Any]) -> dict[str, Any]:
    """The object of a call, which always has arguments in an object of their own."""
    given: Mapping[str, Any] = tool.parameters or {}
    where = f"tools.{number}.function.parameters"
    if depth(given) > DEEPEST:
        raise bad(f"{where}: deeper than {DEEPEST} levels, which is the limit", "tools")
    kinds = given.get("type", "object")
    if "object" not in (kinds if isinstance(kinds, list) else [kinds]):
        raise bad(f"{where}: expected a schema of the type object", "tools")
    if not isinstance(given.get("$defs", {}), Mapping):
        raise bad(f"{where}.$defs: expected an object", "tools")
    arguments = _defined({**given, "type": "object"}, f"t{number}", defs)
    return {
        "type": "object",
        "properties": {"name": {"const": tool.name}, key: arguments},
        "required": ["name", key],
        "additionalProperties": False,
    }


def _any_of(schemas: Sequence[Mapping[str, Any]], defs: Mapping[str, Any]) -> dict[str, Any]:
    one = dict(schemas[0]) if len(schemas) == 1 else {"anyOf": [*schemas]}
    return one | {"$defs": defs}


def _defined(schema: Mapping[str, Any], name: str, defs: dict[str, Any]) -> dict[str, Any]:
    """A reference to a schema that is put into `defs`, with its own references led there."""
    place = f"#/$defs/{name}"
    defs[name] = {
        key: _led(value, place) for key, value in schema.items() if key not in ("$schema", "$id")
    }
    return {"$ref": place}


def _led(value: Any, place: str) -> Any:
    if isinstance(value, dict):
        return {
            key: place + inner.removeprefix("#")
            if key == "$ref" and isinstance(inner, str) and inner.startswith("#")
            else _led(inner, place)
            for key, inner in value.items()
        }
    return [_led(one, place) for one in value] if isinstance(value, list) else value


def _symbol(piece: str | int) -> str:
    """A text or a control token, as llguidance's grammars write them."""
    return json.dumps(piece) if isinstance(piece, str) else f"<[{piece}]>"
