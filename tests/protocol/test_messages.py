"""The envelopes: what is absent stays absent, and what is wrong is named."""

import subprocess
import sys
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from dap_server.protocol.messages import ABSENT, Event, Message, Request, Response
from tests.schema import DEFINITIONS, flat

MESSAGES: list[tuple[Message, dict[str, Any]]] = [
    (Request(seq=1, command="threads"), {"seq": 1, "type": "request", "command": "threads"}),
    (
        Request(seq=2, command="pause", arguments=Raw(b'{"threadId":1}')),
        {"seq": 2, "type": "request", "command": "pause", "arguments": {"threadId": 1}},
    ),
    (
        Response(seq=3, request_seq=2, success=True, command="pause"),
        {"seq": 3, "type": "response", "request_seq": 2, "success": True, "command": "pause"},
    ),
    (
        Response(seq=4, request_seq=2, success=False, command="pause", message="notStopped", body=Raw(b"{}")),
        {
            "seq": 4,
            "type": "response",
            "request_seq": 2,
            "success": False,
            "command": "pause",
            "message": "notStopped",
            "body": {},
        },
    ),
    (Event(seq=5, event="initialized"), {"seq": 5, "type": "event", "event": "initialized"}),
    (
        Event(seq=6, event="exited", body=Raw(b'{"exitCode":0}')),
        {"seq": 6, "type": "event", "event": "exited", "body": {"exitCode": 0}},
    ),
]


@pytest.mark.parametrize(("message", "wire"), MESSAGES)
def test_a_message_is_written_and_read_under_the_names_of_the_specification(
    message: Message, wire: dict[str, Any]
) -> None:
    assert msgspec.json.decode(msgspec.json.encode(message)) == wire
    assert msgspec.json.decode(msgspec.json.encode(wire), type=Message) == message


@pytest.mark.parametrize("envelope", [Request, Response, Event])
def test_an_envelope_has_the_fields_of_the_specification(envelope: type[msgspec.Struct]) -> None:
    schema = flat(DEFINITIONS[envelope.__name__])
    fields = {field.encode_name: field.required for field in msgspec.structs.fields(envelope)}
    assert fields == {key: key in schema["required"] for key in schema["properties"] if key != "type"}


@pytest.mark.parametrize("nothing", [ABSENT, Raw(), Raw(b""), Raw(b"null")])
def test_nothing_is_left_out_however_it_is_said(nothing: Raw) -> None:
    request = Request(seq=1, command="threads", arguments=nothing)
    response = Response(seq=1, request_seq=1, success=True, command="next", body=nothing)
    event = Event(seq=1, event="initialized", body=nothing)
    assert "arguments" not in msgspec.json.decode(msgspec.json.encode(request))
    assert "body" not in msgspec.json.decode(msgspec.json.encode(response))
    assert "body" not in msgspec.json.decode(msgspec.json.encode(event))


@pytest.mark.parametrize("arguments", [b"", b',"arguments":null'])
def test_absent_arguments_are_false(arguments: bytes) -> None:
    request = msgspec.json.decode(b'{"seq":1,"type":"request","command":"threads"' + arguments + b"}", type=Request)
    assert not request.arguments


@pytest.mark.parametrize(
    ("wire", "problem"),
    [
        (b'{"seq":-1,"type":"event","event":"initialized"}', "`$.seq`"),
        (b'{"seq":2147483648,"type":"event","event":"initialized"}', "`$.seq`"),
        (b'{"seq":"1","type":"event","event":"initialized"}', "`$.seq`"),
        (b'{"seq":1,"type":"request","command":7}', "`$.command`"),
        (b'{"seq":1,"type":"response","request_seq":-1,"success":true,"command":"next"}', "`$.request_seq`"),
        (b'{"seq":1,"type":"response","requestSeq":1,"success":true,"command":"next"}', "`request_seq`"),
        (b'{"seq":1,"type":"notification","method":"x"}', "`$.type`"),
        (b'{"jsonrpc":"2.0","id":1,"method":"initialize"}', "`type`"),
        (b"[]", "Expected `object`"),
    ],
)
def test_what_is_not_a_message_is_refused_by_name(wire: bytes, problem: str) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        msgspec.json.decode(wire, type=Message)
    assert problem in str(error.value)


def test_the_package_itself_imports_nothing() -> None:
    assert "False" in _python("import sys, dap_server.protocol; print('msgspec' in sys.modules)")


def test_the_whole_protocol_is_imported_sooner_than_asyncio() -> None:
    """Side by side in one process, since machines differ; asyncio is what an adapter usually starts with."""
    code = (
        "import msgspec, typing, time; begun = time.perf_counter(); import dap_server.protocol.llm.tables; "
        "own = time.perf_counter(); import asyncio; print((own - begun) / (time.perf_counter() - own))"
    )
    assert min(float(_python(code)) for _ in range(3)) < 1


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
