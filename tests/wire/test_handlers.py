"""The table of requests: names, arguments with the path of what is wrong, and errors that cost one request."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dap_server.protocol.errors import InternalError, InvalidArguments, NotStopped, UnknownRequest
from dap_server.protocol.messages import ABSENT, Request
from dap_server.protocol.requests import SetFunctionBreakpointsArguments, StackTraceArguments
from dap_server.wire.handlers import RequestTable, When


class Session:
    def __init__(self) -> None:
        self.calls: list[Any] = []


table: RequestTable[Session] = RequestTable()


@table.request(when=When.STOPPED, supports_delayed_stack_trace_loading=True)
def stack_trace(session: Session, args: StackTraceArguments) -> str:
    session.calls.append(args)
    return "frames"


@table.request()
def set_function_breakpoints(session: Session, args: SetFunctionBreakpointsArguments) -> None:
    session.calls.append(args)


@table.request()
def continue_(session: Session) -> str:
    return "went on"


@table.request(command="llm/odd")
def something(session: Session, request: Request) -> str:
    return request.command


@table.request()
def broken(_session: Session) -> None:
    raise ZeroDivisionError("by our own fault")


@table.request()
def refused(_session: Session) -> None:
    raise NotStopped


def call(command: str, arguments: Any = None, session: Session | None = None) -> Any:
    raw = ABSENT if arguments is None else msgspec.Raw(msgspec.json.encode(arguments))
    return table.find(command)(session or Session(), Request(seq=1, command=command, arguments=raw))


def test_a_command_is_named_after_its_function_unless_it_is_given() -> None:
    assert set(table.handlers) == {
        *("stackTrace", "setFunctionBreakpoints", "continue", "llm/odd", "broken", "refused"),
    }


def test_arguments_arrive_as_the_annotated_type() -> None:
    session = Session()
    assert call("stackTrace", {"threadId": 3, "levels": 20}, session) == "frames"
    assert session.calls == [StackTraceArguments(thread_id=3, levels=20)]


def test_a_handler_may_take_no_arguments_or_the_request_itself() -> None:
    assert call("continue", {"whatever": 1}) == "went on"
    assert call("llm/odd") == "llm/odd"


@pytest.mark.parametrize(
    ("command", "arguments", "path"),
    [
        ("stackTrace", {"threadId": "1"}, "$.threadId"),
        ("stackTrace", {"threadId": None}, "$.threadId"),
        ("stackTrace", {"threadId": 1.5}, "$.threadId"),
        ("stackTrace", {"threadId": 2**31}, "$.threadId"),
        ("stackTrace", {"threadId": 1, "levels": -1}, "$.levels"),
        ("stackTrace", {"threadId": 1, "format": {"hex": 1}}, "$.format.hex"),
        ("stackTrace", {}, "threadId` - at `$"),
        ("stackTrace", None, "threadId` - at `$"),
        ("stackTrace", [], "at `$"),
        ("stackTrace", 5, "at `$"),
        ("setFunctionBreakpoints", {"breakpoints": {}}, "$.breakpoints"),
        ("setFunctionBreakpoints", {"breakpoints": [{"name": "a"}, {"name": 2}]}, "$.breakpoints[1].name"),
        ("setFunctionBreakpoints", {"breakpoints": [{"name": "a"}, {}]}, "$.breakpoints[1]"),
    ],
)
def test_wrong_arguments_are_refused_with_their_path(command: str, arguments: Any, path: str) -> None:
    session = Session()
    with pytest.raises(InvalidArguments) as caught:
        call(command, arguments, session)
    assert path in str(caught.value)
    assert f"'{command}'" in str(caught.value)
    assert session.calls == []


def test_text_that_is_no_unicode_is_refused() -> None:
    request = Request(seq=1, command="stackTrace", arguments=msgspec.Raw(b'{"threadId": "\xff"}'))
    with pytest.raises(InvalidArguments, match=r"at `\$"):
        table.find("stackTrace")(Session(), request)


def test_an_exception_of_our_own_answers_the_request(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InternalError, match="'broken': ZeroDivisionError: by our own fault"):
        call("broken")
    assert "ZeroDivisionError" in capsys.readouterr().err, "the trace is on standard error"


def test_an_error_for_the_client_passes_as_it_is() -> None:
    with pytest.raises(NotStopped):
        call("refused")


def test_an_unknown_command_names_the_nearest() -> None:
    with pytest.raises(UnknownRequest, match="did you mean 'stackTrace'"):
        table.find("stacktrace")


def test_two_handlers_of_one_name_are_a_mistake() -> None:
    with pytest.raises(AssertionError, match="two handlers"):
        table.request(command="continue")(lambda session: None)


def test_capabilities_are_those_of_the_handlers() -> None:
    assert table.capabilities() == {"supports_delayed_stack_trace_loading": True}
