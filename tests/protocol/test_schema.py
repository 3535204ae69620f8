"""`validate` finds what violates the specification, and nothing else; a general validator agrees with it."""

import copy
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from tests.protocol.examples import SIZES, Size, example
from tests.schema import DEFINITIONS, definition_of, own_part, validate

KINDS = [name for name in DEFINITIONS if re.fullmatch(r"\w+(Request|Response|Event)", name)]

RANGES = {"int32": (-(2**31), 2**31), "uint32": (0, 2**32), "int64": (-(2**63), 2**63), "uint64": (0, 2**64)}
RESPONSE = {"seq": 1, "type": "response", "request_seq": 1, "success": True, "command": "initialize"}
WRONG = (None, True, -1, 2**53, 1.5, "wrong", [None], {"key": None})


@pytest.mark.parametrize("definition", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_what_the_specification_allows_is_fine(definition: str, size: Size) -> None:
    message = _message(definition, size)
    assert definition_of(message) == definition
    validate(message)
    validate(message, strict=True)


@pytest.mark.parametrize("definition", KINDS)
def test_a_general_validator_comes_to_the_same_verdict(definition: str) -> None:
    oracle = _general_validator(definition)
    message = _message(definition, "highest")
    assert oracle.is_valid(message)
    for mutant in _mutants(message):
        assert _is_valid(mutant) == oracle.is_valid(mutant), mutant


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("$.seq is missing", {"type": "event", "event": "initialized"}),
        ("$.seq is not within 1 and 2147483647: 0", {"seq": 0, "type": "event", "event": "initialized"}),
        ("$.type is none of", {"seq": 1, "type": "notification"}),
        ("$.event is unknown: 'paused'", {"seq": 1, "type": "event", "event": "paused"}),
        ("$.command is unknown: 'fly'", {"seq": 1, "type": "request", "command": "fly"}),
        ("$.command is unknown: None", {"seq": 1, "type": "request"}),
        (
            "$.command is unknown: 'fly'",
            {"seq": 1, "type": "response", "request_seq": 1, "success": True, "command": "fly"},
        ),
        (
            "ErrorResponse: $.body is missing",
            {"seq": 1, "type": "response", "request_seq": 1, "success": False, "command": "next", "message": "x"},
        ),
        (
            "StackTraceResponse: $.body.stackFrames[1].line is missing",
            {
                "seq": 1,
                "type": "response",
                "request_seq": 1,
                "success": True,
                "command": "stackTrace",
                "body": {
                    "stackFrames": [
                        {"id": 1, "name": "embed", "line": 0, "column": 0},
                        {"id": 2, "name": "norm", "column": 0},
                    ]
                },
            },
        ),
        (
            "StackTraceRequest: $.arguments.threadId is not of type integer",
            {"seq": 1, "type": "request", "command": "stackTrace", "arguments": {"threadId": "1"}},
        ),
        (
            "VariablesRequest: $.arguments.variablesReference is not within 0 and 2147483647",
            {"seq": 1, "type": "request", "command": "variables", "arguments": {"variablesReference": 2**31}},
        ),
        (
            "VariablesRequest: $.arguments.filter is none of indexed, named",
            {
                "seq": 1,
                "type": "request",
                "command": "variables",
                "arguments": {"variablesReference": 1, "filter": "all"},
            },
        ),
    ],
)
def test_a_violation_is_named_with_its_path(problem: str, message: dict[str, Any]) -> None:
    with pytest.raises(AssertionError, match=re.escape(problem)):
        validate(message)


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (
            "$.body.supportsTerminateDebuggee is unknown",  # as debugpy spells it, which no client reads
            RESPONSE := {
                "seq": 1,
                "type": "response",
                "request_seq": 1,
                "success": True,
                "command": "initialize",
                "body": {"supportsTerminateDebuggee": True},
            },
        ),
        ("$.requestSeq is unknown", RESPONSE | {"body": {}, "requestSeq": 1}),
        ("$.body.capabilities is unknown", RESPONSE | {"command": "attach", "body": {"capabilities": {}}}),
        (
            "$.body.allThreads is unknown",
            {"seq": 1, "type": "event", "event": "initialized", "body": {"allThreads": 1}},
        ),
        (
            "$.arguments.threadId is unknown",
            {"seq": 1, "type": "request", "command": "threads", "arguments": {"threadId": 1}},
        ),
    ],
)
def test_what_the_specification_does_not_know_is_refused_in_messages_of_our_own(
    problem: str, message: dict[str, Any]
) -> None:
    validate(message)
    with pytest.raises(AssertionError, match=re.escape(problem)):
        validate(message, strict=True)


@pytest.mark.parametrize(
    "message",
    [
        {"seq": 1, "type": "request", "command": "launch", "arguments": {"program": "train.py"}},
        {"seq": 1, "type": "request", "command": "attach", "arguments": {"port": 1}},
        {"seq": 1, "type": "request", "command": "restart", "arguments": {"arguments": {"program": "train.py"}}},
        {
            "seq": 1,
            "type": "event",
            "event": "module",
            "body": {"reason": "new", "module": {"id": 1, "name": "attn", "parameters": 3}},
        },
        RESPONSE
        | {
            "command": "variables",
            "body": {
                "variables": [
                    {"name": "x", "value": "1", "variablesReference": 0, "__vscodeVariableMenuContext": "tensor"}
                ]
            },
        },
    ],
)
def test_what_the_specification_leaves_open_stays_open(message: dict[str, Any]) -> None:
    validate(message, strict=True)


def test_a_command_that_nobody_knows_may_be_answered_with_an_error() -> None:
    validate(RESPONSE | {"success": False, "command": "fly", "message": "unknown", "body": {}}, strict=True)


def test_the_envelope_of_our_own_messages_is_the_specifications() -> None:
    with pytest.raises(AssertionError, match="seq is missing"):
        validate({"type": "event", "event": "llm/running"})
    with pytest.raises(AssertionError, match=r"ErrorResponse: \$\.body is missing"):
        validate({"seq": 1, "type": "response", "request_seq": 1, "success": False, "command": "llm/runToStep"})


def _message(definition: str, size: Size) -> dict[str, Any]:
    """An example of a message, without arguments or a body where the definition specifies none."""
    message: dict[str, Any] = example(DEFINITIONS[definition], size)
    for key in {"arguments", "body"} - own_part(definition).get("properties", {}).keys():
        message.pop(key, None)
    if definition == "ErrorResponse":
        return message | {"success": False, "command": "next"}
    if definition.endswith("Response"):
        request = own_part(definition.removesuffix("Response") + "Request")
        return message | {"success": True, "command": request["properties"]["command"]["enum"][0]}
    return message


def _is_valid(message: dict[str, Any]) -> bool:
    try:
        validate(message)
    except AssertionError:
        return False
    return True


def _general_validator(definition: str) -> Any:
    definitions = copy.deepcopy(DEFINITIONS)
    restart: dict[str, Any] = dict(definitions["RestartArguments"]["properties"]["arguments"])
    definitions["RestartArguments"] = {  # its `oneOf` is over two open types: nothing fits exactly one
        "type": "object",
        "properties": {"arguments": {"anyOf": restart["oneOf"]}},
    }
    checker = jsonschema.FormatChecker(formats=())
    for name, (low, high) in RANGES.items():
        checker.checks(name)(lambda value, low=low, high=high: isinstance(value, bool | str) or low <= value < high)
    schema = {"$ref": f"#/definitions/{definition}", "definitions": definitions}
    return jsonschema.Draft4Validator(schema, format_checker=checker)


def _mutants(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The message with one thing missing or wrong, everywhere down to the fields of its arguments or body."""
    for index, path in enumerate(_paths(message)):
        if path[0] in ("type", "command", "event", "success"):
            continue  # they choose the definition
        *way, last = path
        for wrong in (..., WRONG[index % len(WRONG)], WRONG[(index + 3) % len(WRONG)]):
            mutant = copy.deepcopy(message)
            holder = mutant
            for step in way:
                holder = holder[step]
            if wrong is ...:
                del holder[last]
            else:
                holder[last] = wrong
            yield mutant


def _paths(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if way:
        yield way
    if len(way) < 3:
        keys = value if isinstance(value, dict) else range(min(1, len(value))) if isinstance(value, list) else ()
        for key in keys:
            yield from _paths(value[key], (*way, key))
