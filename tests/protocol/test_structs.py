"""Every Struct says what the specification says: the same names, the same requiredness, the same types."""

from typing import Any

import msgspec
import pytest
from msgspec import inspect

from dap_server.protocol.capabilities import Capabilities
from dap_server.protocol.messages import Struct
from tests.protocol.examples import SIZES, Size, example, schemas, structs
from tests.schema import Schema, flat, limits

STRUCTS = structs()
SCHEMAS = schemas()

every_struct = pytest.mark.parametrize("name", STRUCTS)


def test_there_is_a_struct_for_every_object_of_the_specification_and_no_other() -> None:
    assert sorted(STRUCTS) == sorted(SCHEMAS)


def test_there_are_42_capabilities() -> None:
    assert len(msgspec.structs.fields(Capabilities)) == 42


@every_struct
def test_fields_are_those_of_the_specification(name: str) -> None:
    schema = flat(SCHEMAS[name])
    required = schema.get("required", [])
    expected = {key: (key in required, _of_schema(part)) for key, part in schema.get("properties", {}).items()}
    assert {field.encode_name: (field.required, _of_field(field)) for field in _fields(name)} == expected


@every_struct
def test_optional_fields_are_none_unless_given(name: str) -> None:
    assert all(field.required or field.default is None for field in _fields(name))


@every_struct
def test_every_struct_says_what_it_is(name: str) -> None:
    assert STRUCTS[name].__doc__ != Struct.__doc__


@every_struct
@pytest.mark.parametrize("size", SIZES)
def test_what_the_specification_allows_comes_back_unchanged(name: str, size: Size) -> None:
    value = example(SCHEMAS[name], size)
    decoded = msgspec.json.decode(msgspec.json.encode(value), type=STRUCTS[name])
    assert msgspec.json.decode(msgspec.json.encode(decoded)) == value


@every_struct
def test_a_field_that_is_missing_or_of_the_wrong_type_is_named(name: str) -> None:
    value = example(SCHEMAS[name], "highest")
    for field in _fields(name):
        described = _of_field(field)
        if described != "anything":
            wrong: object = 1 if described.startswith("list") else [{}]
            assert f"`$.{field.encode_name}" in _problem(name, value | {field.encode_name: wrong})
        if field.required:
            rest = {key: item for key, item in value.items() if key != field.encode_name}
            assert f"required field `{field.encode_name}`" in _problem(name, rest)


@every_struct
def test_numbers_outside_their_range_are_refused(name: str) -> None:
    value = example(SCHEMAS[name], "highest")
    for key, part in flat(SCHEMAS[name]).get("properties", {}).items():
        allowed = limits(part)
        if allowed is not None:
            assert f"`$.{key}`" in _problem(name, value | {key: allowed[0] - 1})
            assert f"`$.{key}`" in _problem(name, value | {key: allowed[1] + 1})


def _fields(name: str) -> tuple[inspect.Field, ...]:
    described = inspect.type_info(STRUCTS[name])
    assert isinstance(described, inspect.StructType)
    return described.fields


def _problem(name: str, value: Any) -> str:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.json.decode(msgspec.json.encode(value), type=STRUCTS[name])
    return str(error.value)


def _of_schema(schema: Schema) -> str:
    """A type as the specification has it, in words that both sides are put into."""
    if "oneOf" in schema:
        return "map of anything"
    if "properties" in flat(schema):
        return f"struct {str(schema['$ref']).removeprefix('#/definitions/')}"
    schema = flat(schema)
    kind = schema["type"]
    if isinstance(kind, list):
        return " or ".join(sorted(kind)) if len(kind) == 2 else "anything"
    if kind == "array":
        return f"list of {_of_schema(schema['items'])}"
    if kind == "object":
        more = schema["additionalProperties"]
        return f"map of {'anything' if more is True else _of_schema(more)}"
    if "enum" in schema:
        return " | ".join(sorted(schema["enum"]))
    return f"{kind} {limits(schema)}" if limits(schema) else str(kind)


def _of_field(field: inspect.Field) -> str:
    """A type as the Struct has it; whether an optional field may be null is not part of it."""
    kind = field.type
    if isinstance(kind, inspect.UnionType) and not field.required:
        rest = tuple(part for part in kind.types if not isinstance(part, inspect.NoneType))
        kind = rest[0] if len(rest) == 1 else inspect.UnionType(rest)
    return _of_type(kind)


def _of_type(kind: inspect.Type) -> str:
    match kind:
        case inspect.StructType(cls=cls):
            return (
                f"struct {cls.__name__.removeprefix('Error')}"
                if cls.__name__ == "ErrorMessage"
                else f"struct {cls.__name__}"
            )
        case inspect.UnionType(types=types):
            return " or ".join(sorted(_of_type(part) for part in types))
        case inspect.ListType(item_type=item):
            return f"list of {_of_type(item)}"
        case inspect.DictType(value_type=item):
            return f"map of {_of_type(item)}"
        case inspect.LiteralType(values=values):
            return " | ".join(sorted(map(str, values)))
        case inspect.IntType(ge=None):
            return "integer"
        case inspect.IntType(ge=low, le=high):
            return f"integer {(low, high)}"
        case inspect.FloatType(ge=low, le=high):
            return f"number {(low, high)}"
        case inspect.StrType():
            return "string"
        case inspect.BoolType():
            return "boolean"
        case inspect.NoneType():
            return "null"
        case inspect.AnyType():
            return "anything"
    raise NotImplementedError(f"the protocol has no {kind}")
