"""Values that fit a schema, made from it: the same ones in every run."""

from typing import Any, Literal

from dap_server.protocol import capabilities, control_requests, events, state_requests, types
from dap_server.protocol.messages import Struct
from tests.schema import DEFINITIONS, Schema, flat, limits, own_part

Size = Literal["minimal", "lowest", "highest"]
"""Only what is required; everything with its lowest value (0, false, empty); everything with its highest."""

SIZES: tuple[Size, ...] = ("minimal", "lowest", "highest")
_DEPTH = 4  # sources contain sources


def structs() -> dict[str, type[Struct]]:
    """All Structs of the protocol but the envelopes, by their names."""
    return {
        name: value
        for module in (types, capabilities, control_requests, state_requests, events)
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Struct) and value is not Struct
    }


def schemas() -> dict[str, Schema]:
    """The schemas that have a Struct, by the name that it should have."""
    found: dict[str, Schema] = {}
    for name, schema in DEFINITIONS.items():
        if name.endswith(("Event", "Response")):
            body = own_part(name).get("properties", {}).get("body", {})
            if "properties" in body:
                found[f"{name}Body"] = body
        elif not name.endswith("Request") and name != "ProtocolMessage" and flat(schema)["type"] == "object":
            found["ErrorMessage" if name == "Message" else name] = schema
    return found


def example(schema: Schema, size: Size, depth: int = 0) -> Any:
    """A value that fits the schema."""
    schema = flat(schema["oneOf"][0] if "oneOf" in schema else schema)
    kind = schema["type"]
    if isinstance(kind, list):
        return _of_several_types(kind, size)
    if kind == "object":
        return _object(schema, size, depth)
    if kind == "array":
        nested = size == "highest" and depth < _DEPTH
        return [example(schema["items"], size, depth + 1)] * 2 if nested else []
    if kind == "boolean":
        return size == "highest"
    if kind == "string":
        words = schema.get("enum", ["", 'æ "quoted"\n\u2028 text'])
    else:
        words = limits(schema) or (0, 1)
    return words[-1 if size == "highest" else 0]


def _of_several_types(kinds: list[str], size: Size) -> Any:
    if len(kinds) > 2:
        return {"anything": [1, None]}
    return "text" if size == "highest" else None if "null" in kinds else 0


def _object(schema: Schema, size: Size, depth: int) -> dict[str, Any]:
    if "properties" not in schema:
        more = schema.get("additionalProperties", False)
        if not more:
            return {}
        return {"key": {"nested": [1]} if more is True else example(more, size, depth + 1)}
    wanted = schema.get("required", []) if size == "minimal" or depth > _DEPTH else schema["properties"]
    return {key: example(schema["properties"][key], size, depth + 1) for key in wanted}
