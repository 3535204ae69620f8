"""What `initialize` promises is what there are handlers for, on both sides of the adapter."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dap_server.adapter.requests import decoder_of
from dap_server.adapter.requests import requests as adapter_requests
from dap_server.engine.requests import requests as engine_requests
from dap_server.protocol.capabilities import Capabilities
from dap_server.protocol.llm.tables import LLM_REQUESTS
from dap_server.protocol.messages import Request
from dap_server.protocol.tables import REQUESTS
from dap_server.wire.handlers import Handler
from tests.adapter.conftest import StartAdapter
from tests.adapter.peer import error_of

PROMISES: dict[str, str] = {
    "configurationDone": "supportsConfigurationDoneRequest",
    "setFunctionBreakpoints": "supportsFunctionBreakpoints",
    "evaluate": "supportsEvaluateForHovers",
    "stepBack": "supportsStepBack",
    "reverseContinue": "supportsStepBack",
    "setVariable": "supportsSetVariable",
    "restartFrame": "supportsRestartFrame",
    "goto": "supportsGotoTargetsRequest",
    "gotoTargets": "supportsGotoTargetsRequest",
    "stepInTargets": "supportsStepInTargetsRequest",
    "completions": "supportsCompletionsRequest",
    "modules": "supportsModulesRequest",
    "restart": "supportsRestartRequest",
    "exceptionInfo": "supportsExceptionInfoRequest",
    "disconnect": "supportTerminateDebuggee",
    "loadedSources": "supportsLoadedSourcesRequest",
    "terminateThreads": "supportsTerminateThreadsRequest",
    "setExpression": "supportsSetExpression",
    "terminate": "supportsTerminateRequest",
    "dataBreakpointInfo": "supportsDataBreakpoints",
    "setDataBreakpoints": "supportsDataBreakpoints",
    "readMemory": "supportsReadMemoryRequest",
    "writeMemory": "supportsWriteMemoryRequest",
    "disassemble": "supportsDisassembleRequest",
    "cancel": "supportsCancelRequest",
    "breakpointLocations": "supportsBreakpointLocationsRequest",
    "setInstructionBreakpoints": "supportsInstructionBreakpoints",
    "stackTrace": "supportsDelayedStackTraceLoading",
    "setExceptionBreakpoints": "exceptionBreakpointFilters",
}
"""The flag that says that a request may be sent, or is more than its name says."""


def test_what_is_advertised_is_what_the_handlers_declare(start_adapter: StartAdapter) -> None:
    body = start_adapter().initialize()
    assert body == msgspec.to_builtins(Capabilities(**adapter_requests.capabilities()))
    assert all(value is True or isinstance(value, list) for value in body.values())


@pytest.mark.parametrize("command", PROMISES)
def test_a_flag_is_there_exactly_if_its_request_is(command: str) -> None:
    advertised = msgspec.to_builtins(Capabilities(**adapter_requests.capabilities()))
    assert (command in adapter_requests.handlers) == (PROMISES[command] in advertised)


def test_every_handler_is_a_request_of_the_protocol() -> None:
    assert set(adapter_requests.handlers) <= {*REQUESTS, *LLM_REQUESTS}
    assert set(engine_requests.handlers) <= {*REQUESTS, *LLM_REQUESTS}


def forwarded_requests() -> set[str]:
    return {name for name, handler in adapter_requests.handlers.items() if handler.function.__name__ == "forward"}


def test_what_is_forwarded_is_what_the_engine_answers() -> None:
    forwarded = forwarded_requests()
    assert forwarded, "the test knows them by the function that forwards"
    assert forwarded <= set(engine_requests.handlers)
    offered = {name for name in engine_requests.handlers if name in REQUESTS} - {"cancel"}
    assert offered <= set(adapter_requests.handlers), "nothing in the engine is out of reach"


def test_the_arguments_of_every_request_can_be_read() -> None:
    """Their types are looked at when the first request comes, which is late for a mistake."""
    handlers: list[Handler[Any]] = [*adapter_requests.handlers.values(), *engine_requests.handlers.values()]
    for handler in handlers:
        assert handler.decoder or handler.arguments in (None, Request), handler.command
    for name in forwarded_requests():
        assert decoder_of(name) or REQUESTS[name].arguments is None, name


def test_both_sides_agree_on_the_arguments() -> None:
    for name, handler in engine_requests.handlers.items():
        if name in REQUESTS and name not in ("launch", "attach", "restart") and handler.arguments is not None:
            assert handler.arguments is REQUESTS[name].arguments, name


def test_requests_without_a_handler_are_refused_by_name(start_adapter: StartAdapter) -> None:
    adapter = start_adapter()
    adapter.initialize()
    missing = sorted(set(REQUESTS) - set(adapter_requests.handlers))
    assert missing, "once there is nothing left to refuse, this test has done its work"
    for command in missing:
        assert f"unknown request '{command}'" in error_of(adapter.answer(adapter.send(command, {})))
