"""The tables hold every request and event of the specification, in its order, with its types."""

import pytest

from dap_server.protocol.tables import EVENTS, REQUESTS, REVERSE_REQUESTS
from tests.schema import DEFINITIONS, Schema, flat, own_part


def test_there_are_43_requests_2_reverse_requests_and_17_events() -> None:
    assert (len(REQUESTS), len(REVERSE_REQUESTS), len(EVENTS)) == (43, 2, 17)


def test_requests_are_those_of_the_specification_in_its_order() -> None:
    wire_names = _wire_names("Request", "command")
    assert list(REQUESTS) == [name for name in wire_names if name not in REVERSE_REQUESTS]
    assert list(REVERSE_REQUESTS) == [name for name in wire_names if name in REVERSE_REQUESTS]


def test_events_are_those_of_the_specification_in_its_order() -> None:
    assert list(EVENTS) == list(_wire_names("Event", "event"))


@pytest.mark.parametrize("command", [*REQUESTS, *REVERSE_REQUESTS])
def test_a_request_has_the_arguments_and_the_body_of_the_specification(command: str) -> None:
    definition = _wire_names("Request", "command")[command]
    response = definition.removesuffix("Request") + "Response"
    found = (REQUESTS | REVERSE_REQUESTS)[command]
    assert _name(found.arguments) == _struct_name(definition, "arguments")
    assert _name(found.body) == _struct_name(response, "body")


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_has_the_body_of_the_specification(event: str) -> None:
    assert _name(EVENTS[event]) == _struct_name(_wire_names("Event", "event")[event], "body")


def _wire_names(kind: str, key: str) -> dict[str, str]:
    names = [name for name in DEFINITIONS if name.endswith(kind) and name != kind]
    return {flat(DEFINITIONS[name])["properties"][key]["enum"][0]: name for name in names}


def _struct_name(definition: str, part: str) -> str | None:
    schema: Schema = own_part(definition).get("properties", {}).get(part, {})
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix("#/definitions/")
    return f"{definition}Body" if schema else None


def _name(kind: type | None) -> str | None:
    return kind.__name__ if kind else None
