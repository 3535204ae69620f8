"""The editor-facing requests: those that the adapter answers itself, and those that belong to the engine.

Each says what it lets `initialize` promise, and nothing is promised that is not here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import msgspec

from dap_server.adapter.loading import LOADING
from dap_server.adapter.offers import BREAKPOINT_MODES, EXCEPTION_FILTERS, MODULE_COLUMNS
from dap_server.adapter.session import AdapterSession
from dap_server.modelmap.addresses import address_text
from dap_server.modelmap.paths import is_map, is_python_file, local_path
from dap_server.protocol.attach import AttachArguments, Configuration, parse_attach
from dap_server.protocol.capabilities import Capabilities
from dap_server.protocol.errors import InvalidArguments, RequestError, Unauthorized
from dap_server.protocol.launch import parse_launch
from dap_server.protocol.messages import Request
from dap_server.protocol.requests import (
    BreakpointLocationsArguments,
    BreakpointLocationsResponseBody,
    CancelArguments,
    ConfigurationDoneArguments,
    DisassembleArguments,
    DisassembleResponseBody,
    DisconnectArguments,
    InitializeRequestArguments,
    RestartArguments,
    SetBreakpointsArguments,
    SetBreakpointsResponseBody,
    SetDataBreakpointsArguments,
    SetDataBreakpointsResponseBody,
    SetExceptionBreakpointsArguments,
    SetExceptionBreakpointsResponseBody,
    SetFunctionBreakpointsArguments,
    SetFunctionBreakpointsResponseBody,
    SetInstructionBreakpointsArguments,
    SetInstructionBreakpointsResponseBody,
    SourceArguments,
    SourceResponseBody,
    TerminateArguments,
    ThreadsResponseBody,
)
from dap_server.protocol.types import (
    Breakpoint,
    BreakpointLocation,
    DisassembledInstruction,
    ExceptionFilterOptions,
    SourceBreakpoint,
    Thread,
)
from dap_server.wire.handlers import RequestTable, When, decode_arguments
from dap_server.wire.reply import Reply


class _Shown(msgspec.Struct):
    token: str | None = None


requests: RequestTable[AdapterSession] = RequestTable()
_shown_decoder = msgspec.json.Decoder(_Shown)
_disassemble_decoder = msgspec.json.Decoder(DisassembleArguments)
T = TypeVar("T")
MAX_ROWS = 100_000
"""Of an answer to a `disassemble` that names nothing."""


@requests.request()
def initialize(session: AdapterSession, args: InitializeRequestArguments) -> Capabilities:
    """The first request: exchanges what both sides can do."""
    if session.client_info is not None:
        raise RequestError("'initialize' may be sent only once")
    if args.path_format not in (None, "path"):
        raise InvalidArguments(f"'initialize': pathFormat '{args.path_format}' is not supported: use 'path'")
    session.client_info = args
    return Capabilities(**requests.capabilities())


@requests.request()
def launch(session: AdapterSession, request: Request) -> Reply[None]:
    """Starts a process for the model and loads it; answered when it is ready to run."""
    return _begin(session, request, parse_launch)


@requests.request()
def attach(session: AdapterSession, request: Request) -> Reply[None]:
    """Connects to a program that listens; answered when its breakpoints are placed."""
    return _begin(session, request, parse_attach)


def _begin(session: AdapterSession, request: Request, parse: Callable[[bytes], Configuration]) -> Reply[None]:
    if session.configuration is not None:
        raise RequestError(f"'{request.command}': this session has begun already: use 'restart'")
    try:
        _check_token(session, request)
        configuration = parse(bytes(request.arguments))
    except RequestError:
        session.post(session.terminated)  # after the answer
        raise
    reply = session.start(configuration)
    session.client.event("initialized")
    return reply


def _check_token(session: AdapterSession, request: Request) -> None:
    if session.is_token is None:
        return
    shown = decode_arguments(_shown_decoder, request).token
    if not session.is_token(shown or ""):
        text = "the 'token' that the adapter printed when it began to listen is missing or wrong"
        raise Unauthorized(f"'{request.command}': {text}")


@requests.request(when=When.LAUNCHED, supports_configuration_done_request=True)
def configuration_done(session: AdapterSession, _args: ConfigurationDoneArguments) -> None:
    """All breakpoints are sent: the run may begin, as soon as the model is loaded."""
    session.is_configured = True
    if session.backend is not None and session.backend.is_ready:
        session.backend.request("configurationDone")


@requests.request(when=When.LAUNCHED, supports_restart_request=True)
def restart(session: AdapterSession, args: RestartArguments) -> Reply[None]:
    """Begins again, with a new launch configuration if the client has one; on the loaded model if it is the same."""
    given = msgspec.json.encode(args.arguments) if args.arguments else b""
    before = session.configuration
    assert before is not None
    if isinstance(before, AttachArguments):
        return session.reload(parse_attach(given) if given else before)
    configuration = parse_launch(given) if given else before
    backend = session.backend
    if backend is None or backend.is_abandoned or not backend.is_ready:
        return session.reload(configuration)
    if configuration.is_program or (configuration.model_identity, configuration.no_debug) != (
        before.model_identity,
        before.no_debug,
    ):
        return session.reload(configuration)
    if not configuration.no_debug:
        session.use_map(backend, configuration)
    reply = backend.request("restart", configuration)
    reply.then(lambda answer: session.restarted(configuration, answer))
    return reply


@requests.request(supports_terminate_request=True)
def terminate(session: AdapterSession, _args: TerminateArguments) -> None:
    """Ends the run gracefully; `exited` and `terminated` follow."""
    session.end()
    if session.backend is None:
        session.terminated()


@requests.request(support_terminate_debuggee=True)
def disconnect(session: AdapterSession, args: DisconnectArguments) -> Reply[None]:
    """Ends the session; the model's process ends with it unless the client wants it to go on."""
    reply: Reply[None] = Reply()
    reply.then(lambda _: session.close())
    backend = session.backend
    leaves = args.terminate_debuggee is False or (session.is_attached and not args.terminate_debuggee)
    if leaves and backend is not None and not backend.is_abandoned and backend.is_ready:

        def left(_: Reply[None]) -> None:
            backend.detach()
            reply.settle(None)

        backend.request("disconnect", args).then(left)
    else:
        session.end(lambda: reply.settle(None))
    return reply


@requests.request(supports_cancel_request=True)
def cancel(session: AdapterSession, args: CancelArguments) -> None:
    """Cancels a request that is under way, the loading of the model, or a long replay."""
    if args.request_id is not None:
        session.cancel_forwarded(args.request_id)
    if args.progress_id is None:
        return
    if session.loading and args.progress_id == session.loading.progress_id:
        session.loading.cancel()
    else:
        session.cancel_replay(args.progress_id)


@requests.request(
    when=When.LAUNCHED,
    breakpoint_modes=BREAKPOINT_MODES,
    supports_conditional_breakpoints=True,
    supports_hit_conditional_breakpoints=True,
    supports_log_points=True,
)
def set_breakpoints(
    session: AdapterSession, args: SetBreakpointsArguments
) -> SetBreakpointsResponseBody | Reply[SetBreakpointsResponseBody]:
    """Replaces the breakpoints on the lines of one model map or Python file. Editors send those of others too."""
    path = local_path(args.source.path or args.source.name or "")
    asked = args.breakpoints
    if asked is None:
        asked = [SourceBreakpoint(line=line) for line in args.lines or []]
    if is_python_file(path):
        states = session.breakpoints.set_python_lines(os.path.abspath(path), asked)
        return _placed(session, states, SetBreakpointsResponseBody)
    if not is_map(path):
        message = OTHER_FILE.format(path or "this file")
        refused = [Breakpoint(verified=False, line=b.line, message=message, reason="failed") for b in asked]
        return SetBreakpointsResponseBody(breakpoints=refused)
    states = session.breakpoints.set_lines(os.path.abspath(path), asked)
    return _placed(session, states, SetBreakpointsResponseBody)


OTHER_FILE = (
    "{} is neither a model map nor Python: breakpoints stand on lines of .llmmap and .py files, or on modules by their "
    "names"
)


@requests.request(supports_breakpoint_locations_request=True)
def breakpoint_locations(
    session: AdapterSession, args: BreakpointLocationsArguments
) -> BreakpointLocationsResponseBody:
    """Two for each place of a map: at its beginning, which means before it, and at the end of its line: after it."""
    path = local_path(args.source.path or "")
    start = (args.line, args.column or 0)
    end = (args.end_line or args.line, args.end_column or sys.maxsize)
    locations = session.breakpoints.locations(os.path.abspath(path), start, end) if is_map(path) else []
    return BreakpointLocationsResponseBody(
        breakpoints=[BreakpointLocation(line=line, column=column) for line, column in locations]
    )


@requests.request(when=When.LAUNCHED)
def source(_session: AdapterSession, args: SourceArguments) -> SourceResponseBody:
    """The text of a map or of a Python file. All are files, which most editors read themselves."""
    path = local_path(args.source.path or "") if args.source else ""
    kind = MIME_TYPES.get(os.path.splitext(path)[1].lower())
    if kind is None:
        raise InvalidArguments(
            "'source': sources are files here: ask by the path of a .llmmap or .py file at `$.source`"
        )
    try:
        with open(path, encoding="utf-8") as file:
            return SourceResponseBody(content=file.read(), mime_type=kind)
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"'source': {path} cannot be read: {error}") from None


MIME_TYPES = {".llmmap": "text/x-llmmap", ".py": "text/x-python"}


@requests.request(when=When.LAUNCHED, supports_function_breakpoints=True)
def set_function_breakpoints(
    session: AdapterSession, args: SetFunctionBreakpointsArguments
) -> SetFunctionBreakpointsResponseBody | Reply[SetFunctionBreakpointsResponseBody]:
    """Replaces the breakpoints on modules; before the model is loaded they are pending."""
    return _placed(session, session.breakpoints.set_functions(args.breakpoints), SetFunctionBreakpointsResponseBody)


@requests.request(
    when=When.LAUNCHED, exception_breakpoint_filters=EXCEPTION_FILTERS, supports_exception_filter_options=True
)
def set_exception_breakpoints(
    session: AdapterSession, args: SetExceptionBreakpointsArguments
) -> SetExceptionBreakpointsResponseBody | Reply[SetExceptionBreakpointsResponseBody]:
    """Replaces the filters of anomalies; a condition takes the place of a filter's own threshold."""
    asked = [*(ExceptionFilterOptions(filter_id=id) for id in args.filters), *(args.filter_options or [])]
    return _placed(session, session.breakpoints.set_filters(asked), SetExceptionBreakpointsResponseBody)


@requests.request(when=When.LAUNCHED, supports_instruction_breakpoints=True)
def set_instruction_breakpoints(
    session: AdapterSession, args: SetInstructionBreakpointsArguments
) -> SetInstructionBreakpointsResponseBody | Reply[SetInstructionBreakpointsResponseBody]:
    """Replaces the breakpoints on operations by their addresses, which are the same in every session."""
    states = session.breakpoints.set_instructions(args.breakpoints)
    return _placed(session, states, SetInstructionBreakpointsResponseBody)


@requests.request(when=When.LAUNCHED, supports_data_breakpoints=True)
def set_data_breakpoints(
    session: AdapterSession, args: SetDataBreakpointsArguments
) -> SetDataBreakpointsResponseBody | Reply[SetDataBreakpointsResponseBody]:
    """Replaces the values that are watched. What is watched is text, and the same in every session."""
    return _placed(session, session.breakpoints.set_data(args.breakpoints), SetDataBreakpointsResponseBody)


def _placed(session: AdapterSession, states: Callable[[], list[Breakpoint]], body: Callable[..., T]) -> T | Reply[T]:
    """The answer once the engine has placed the breakpoints; at once while there is none."""
    if session.backend is None or not session.backend.is_ready or session.backend.is_abandoned:
        return body(breakpoints=states())
    reply: Reply[T] = Reply()

    def placed(answer: Reply[None]) -> None:
        try:
            answer.result()
        except RequestError as error:
            reply.fail(error)
            return
        reply.settle(body(breakpoints=states()))

    session.place_breakpoints().then(placed)
    return reply


@requests.request(when=When.LAUNCHED, supports_disassemble_request=True, supports_stepping_granularity=True)
def disassemble(session: AdapterSession, request: Request) -> DisassembleResponseBody | Reply[DisassembleResponseBody]:
    """The operations of a step. An editor whose view was left open asks for nothing, before anything is there."""
    args = decode_arguments(_disassemble_decoder, request)
    if args.memory_reference:
        return session.forward(request)
    rows = [
        DisassembledInstruction(address=address_text(i), instruction="", presentation_hint="invalid")
        for i in range(1, min(args.instruction_count, MAX_ROWS) + 1)
    ]
    return DisassembleResponseBody(instructions=rows)


@requests.request()
def threads(session: AdapterSession, request: Request) -> ThreadsResponseBody | Reply[ThreadsResponseBody]:
    """The sequences of the batch; one for the model before there are any."""
    backend = session.backend
    if backend is None or backend.is_abandoned or not backend.is_ready:
        return ThreadsResponseBody(threads=[Thread(id=1, name=f"model ({LOADING})" if backend else "model")])
    return session.forward(request)


def forwarded(command: str, **capabilities: Any) -> None:
    """A request that belongs to the engine. Its arguments are checked here too, so that wrong ones need no model."""

    def forward(session: AdapterSession, request: Request) -> Reply[object]:
        decoder = decoder_of(command)
        if decoder is not None:
            decode_arguments(decoder, request)
        return session.forward(request)

    requests.request(when=When.LAUNCHED, command=command, **capabilities)(forward)


@cache
def decoder_of(command: str) -> msgspec.json.Decoder[object] | None:
    """Of the arguments of a request that belongs to the engine; None where it has none."""
    from dap_server.protocol.llm.tables import LLM_REQUESTS
    from dap_server.protocol.tables import REQUESTS

    arguments = {**REQUESTS, **LLM_REQUESTS}[command].arguments
    return msgspec.json.Decoder(arguments) if arguments else None


forwarded("continue")
forwarded("modules", supports_modules_request=True, additional_module_columns=MODULE_COLUMNS)
forwarded("loadedSources", supports_loaded_sources_request=True)
forwarded("next")
forwarded("stepIn")
forwarded("stepInTargets", supports_step_in_targets_request=True)
forwarded("stepOut")
forwarded("stepBack", supports_step_back=True)
forwarded("reverseContinue", supports_step_back=True)
forwarded("goto", supports_goto_targets_request=True)
forwarded("gotoTargets", supports_goto_targets_request=True)
forwarded("restartFrame", supports_restart_frame=True)
forwarded("llm/attention")
forwarded("llm/reverseStepIn")
forwarded("llm/reverseStepOut")
forwarded("llm/runToStep")
forwarded("llm/sampling")
forwarded("llm/generation")
forwarded("llm/breakpointCosts")
forwarded("llm/status")
forwarded("llm/map")
forwarded("llm/inlineValues")
forwarded("llm/gradients")
forwarded("llm/saliency")
forwarded("llm/lens")
forwarded("llm/attribution")
forwarded("llm/edit")
forwarded("llm/edits")
forwarded("llm/changeEdit")
forwarded("llm/undoEdit")
forwarded("llm/saveEdits")
forwarded("llm/loadEdits")
forwarded("llm/branches")
forwarded("llm/switchBranch")
forwarded("llm/deleteBranch")
forwarded("llm/nameBranch")
forwarded("llm/editEffect")
forwarded("llm/compareBranches")
forwarded("llm/sweep")
forwarded("llm/tensor")
forwarded("llm/tensorLiteral")
forwarded("llm/saveTensor")
forwarded("pause")
forwarded("stackTrace", supports_delayed_stack_trace_loading=True)
forwarded("scopes")
forwarded("variables")
forwarded("setVariable", supports_set_variable=True)
forwarded("setExpression", supports_set_expression=True)
forwarded("evaluate", supports_evaluate_for_hovers=True, supports_clipboard_context=True)
forwarded("readMemory", supports_read_memory_request=True)
forwarded("writeMemory", supports_write_memory_request=True)
forwarded("dataBreakpointInfo", supports_data_breakpoints=True)
forwarded("exceptionInfo", supports_exception_info_request=True)
forwarded("completions", supports_completions_request=True)
