"""Holds messages against the specification's schema; every test that sees DAP traffic calls `validate`.

The schema is compiled to closures, ten times as fast as a general validator: a test run checks every message
it sees. `tests/protocol/test_schema.py` holds the verdicts against such a validator.
"""

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema

from dap_server.protocol.schema import own_schema

Schema = Mapping[str, Any]
Check = Callable[[Any], str | None]
"""None if the value is fine, else where it is wrong and how: `.body.threadId is not of type integer`."""

DEFINITIONS: dict[str, Schema] = json.loads(
    (Path(__file__).parents[1] / "fixtures" / "debugAdapterProtocol.json").read_text(encoding="utf-8")
)["definitions"]

_FORMATS = {
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint64": (0, 2**64 - 1),
}

_OPEN = {"LaunchRequestArguments", "AttachRequestArguments", "Module"}
"""Definitions that say themselves that implementations add properties."""

_UNDERSTOOD = {
    *("$ref", "allOf", "oneOf", "type", "enum", "format", "minimum", "maximum", "items"),
    *("properties", "required", "additionalProperties"),
    *("title", "description", "_enum", "enumDescriptions"),
}

_IS: dict[str, Callable[[Any], bool]] = {
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}


def validate(message: Mapping[str, Any], strict: bool = False) -> None:
    """Raises an AssertionError that names the path of what the specification does not allow.

    Args:
        strict: also refuse properties that the specification does not know, which it allows but which in messages of
            our own are misspelt ones. Names that begin with `__` are for clients' extensions and always allowed.
    """
    if message.get("request_seq") == 0:  # the answer to a client that counts from 0, as Helix does
        message = {**message, "request_seq": 1}
    name = definition_of(message)
    problem = _check(name, strict)(message)
    if problem is not None:
        raise AssertionError(f"{name}: ${problem}\n{json.dumps(message)[:2000]}")
    if name in ("Request", "Response", "Event"):
        _validate_own(message)


def definition_of(message: Mapping[str, Any]) -> str:
    """The definition that a message must fit; of `llm/…` messages only the envelope is known here."""
    kind = message.get("type")
    if kind == "event":
        return _named(message.get("event"), "Event", _wire_names("Event"))
    if kind == "request":
        return _named(message.get("command"), "Request", _wire_names("Request"))
    if kind == "response":
        if message.get("success") is False:
            return "ErrorResponse"  # whatever the command: one that nobody knows is answered so
        request = _named(message.get("command"), "Request", _wire_names("Request"))
        return request.removesuffix("Request") + "Response"
    raise AssertionError(f"$.type is none of request, response, event: {kind!r}")


def _validate_own(message: Mapping[str, Any]) -> None:
    """An `llm/…` message against the schema made from its Struct; nothing may be in it that is not there."""
    kind = "events" if message["type"] == "event" else "requests"
    name = message["event" if kind == "events" else "command"]
    part = "arguments" if message["type"] == "request" else "body"
    known = own_schema()[kind]
    if name not in known:
        raise AssertionError(f"{name} is none of our {kind}")
    if part not in known[name]:
        assert part not in message, f"{name}: $.{part} should not be there"
        return
    errors = [e.message for e in _own_validator(kind, name, part).iter_errors(message.get(part, {}))]
    assert not errors, f"{name}: $.{part}: {errors}"


@functools.cache
def _own_validator(kind: str, name: str, part: str) -> Any:
    schema = own_schema()
    definitions = {
        title: {**definition, "additionalProperties": False} if definition.get("type") == "object" else definition
        for title, definition in schema["definitions"].items()
    }
    return jsonschema.Draft202012Validator({**schema[kind][name][part], "definitions": definitions})


def flat(schema: Schema) -> Schema:
    """The schema with its reference resolved and what it extends merged into it."""
    if "$ref" in schema:
        return flat(DEFINITIONS[_target(schema)])
    if "allOf" not in schema:
        return schema
    merged: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
    for part in map(flat, schema["allOf"]):
        merged["properties"].update(part.get("properties", {}))
        merged["required"] += part.get("required", [])
    return merged


def own_part(name: str) -> Schema:
    """What a message's definition adds to the Request, Response or Event that it extends."""
    part: Schema = DEFINITIONS[name]["allOf"][1]
    return part


def limits(schema: Schema) -> tuple[int, int] | None:
    """The least and the greatest number that the schema allows, if it says so."""
    if not schema.keys() & {"format", "minimum", "maximum"}:
        return None
    low, high = _FORMATS.get(schema.get("format", ""), (-(2**63), 2**64 - 1))
    return max(low, schema.get("minimum", low)), min(high, schema.get("maximum", high))


def _target(schema: Schema) -> str:
    return str(schema["$ref"]).removeprefix("#/definitions/")


def _named(value: object, kind: str, known: Mapping[str, str]) -> str:
    if isinstance(value, str) and value.startswith("llm/"):
        return kind
    if not isinstance(value, str) or value not in known:
        raise AssertionError(f"$.{'event' if kind == 'Event' else 'command'} is unknown: {value!r}")
    return known[value]


@functools.cache
def _wire_names(kind: str) -> dict[str, str]:
    """The definitions of all requests or events by their names on the wire."""
    key = "event" if kind == "Event" else "command"
    return {
        own_part(name)["properties"][key]["enum"][0]: name
        for name in DEFINITIONS
        if name.endswith(kind) and name != kind
    }


@functools.cache
def _check(name: str, strict: bool) -> Check:
    schema = dict(flat(DEFINITIONS[name]))
    if strict and "allOf" in DEFINITIONS[name]:
        properties = own_part(name).get("properties", {})
        nothing = {key: {"type": "object"} for key in ("arguments", "body") if key not in properties}
        schema["properties"] = {
            key: nothing.get(key, value) for key, value in schema["properties"].items()
        }  # an acknowledgement with a body has it in the wrong place
    if name in _OPEN:
        schema["additionalProperties"] = True
    return _compile(schema, strict)


def _compile(schema: Schema, strict: bool) -> Check:
    unknown = schema.keys() - _UNDERSTOOD
    if unknown:
        raise NotImplementedError(f"schema keywords {sorted(unknown)}")
    if "$ref" in schema:
        return lambda value: _check(_target(schema), strict)(value)  # looked up late, since sources contain sources
    if "allOf" in schema:
        return _compile(flat(schema), strict)
    if "oneOf" in schema:
        # The specification's one `oneOf` is over two open types, so whatever fits one fits both: it means `anyOf`.
        return _any_of([_compile(part, strict) for part in schema["oneOf"]])
    return _all_of(list(_parts(schema, strict)))


def _parts(schema: Schema, strict: bool) -> Iterator[Check]:
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    yield _of_type(types)
    if "enum" in schema:
        yield _one_of(schema["enum"])
    allowed = limits(schema)
    if allowed is not None:
        yield _between(*allowed)
    if types == ["array"]:
        yield _items(_compile(schema["items"], strict))
    if types == ["object"]:
        properties = {key: _compile(part, strict) for key, part in schema.get("properties", {}).items()}
        more = schema.get("additionalProperties", not strict)
        yield _object(
            properties, schema.get("required", []), more if more is True or not more else _compile(more, strict)
        )


def _of_type(types: list[str]) -> Check:
    tests = [_IS[name] for name in types]
    problem = f" is not of type {' or '.join(types)}"
    if len(tests) == 1:
        test = tests[0]
        return lambda value: None if test(value) else problem
    return lambda value: None if any(test(value) for test in tests) else problem


def _one_of(values: list[str]) -> Check:
    return lambda value: None if value in values else f" is none of {', '.join(values)}: {value!r}"


def _between(low: int, high: int) -> Check:
    return lambda value: None if low <= value <= high else f" is not within {low} and {high}: {value!r}"


def _items(check: Check) -> Check:
    def items(value: list[Any]) -> str | None:
        for index, item in enumerate(value):
            problem = check(item)
            if problem is not None:
                return f"[{index}]{problem}"
        return None

    return items


def _object(properties: dict[str, Check], required: list[str], more: bool | Check) -> Check:
    def entries(value: dict[str, Any]) -> str | None:
        for key in required:
            if key not in value:
                return f".{key} is missing"
        for key, item in value.items():
            check = properties.get(key, more)
            if check is True or (check is False and key.startswith("__")):
                continue
            problem = " is unknown to the specification" if isinstance(check, bool) else check(item)
            if problem is not None:
                return f".{key}{problem}"
        return None

    return entries


def _all_of(checks: list[Check]) -> Check:
    def every(value: Any) -> str | None:
        for check in checks:
            problem = check(value)
            if problem is not None:
                return problem
        return None

    return every


def _any_of(checks: list[Check]) -> Check:
    def some(value: Any) -> str | None:
        problems = [check(value) for check in checks]
        return None if None in problems else problems[0]

    return some
