"""The editor-facing requests: those that the adapter answers itself, and those that belong to the engine.

Each says what it lets `initialize` promise, and nothing is promised that is not here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from dap_server.adapter.breakpoints import LOADING
from dap_server.adapter.session import AdapterSession
from dap_server.modelmap.addresses import address_text
from dap_server.protocol.capabilities import Capabilities
from dap_server.protocol.errors import InvalidArguments, RequestError, Unauthorized
from dap_server.protocol.launch import parse_launch
from dap_server.protocol.llm.tables import LLM_REQUESTS
from dap_server.protocol.messages import Request
from dap_server.protocol.requests import (
    CancelArguments,
    ConfigurationDoneArguments,
    DisassembleArguments,
    DisassembleResponseBody,
    DisconnectArguments,
    InitializeRequestArguments,
    RestartArguments,
    SetBreakpointsArguments,
    SetBreakpointsResponseBody,
    SetFunctionBreakpointsArguments,
    SetFunctionBreakpointsResponseBody,
    SetInstructionBreakpointsArguments,
    SetInstructionBreakpointsResponseBody,
    TerminateArguments,
    ThreadsResponseBody,
)
from dap_server.protocol.tables import REQUESTS
from dap_server.protocol.types import Breakpoint, DisassembledInstruction, Thread
from dap_server.wire.handlers import RequestTable, When, decode_arguments
from dap_server.wire.loopback import same_token
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
    if session.launch is not None:
        raise RequestError("'launch': this session is launched already: use 'restart'")
    try:
        _check_token(session, request)
        configuration = parse_launch(bytes(request.arguments))
    except RequestError:
        session.post(session.terminated)  # after the answer
        raise
    reply = session.start(configuration)
    session.client.event("initialized")
    return reply


def _check_token(session: AdapterSession, request: Request) -> None:
    if session.token is None:
        return
    shown = decode_arguments(_shown_decoder, request).token
    if not same_token(shown or "", session.token):
        raise Unauthorized("'launch': the 'token' that the adapter printed when it began to listen is missing or wrong")


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
    configuration = parse_launch(given) if given else session.launch
    assert configuration is not None
    backend = session.backend
    if backend is None or backend.is_abandoned or not backend.is_ready:
        return session.reload(configuration)
    before = session.launch or configuration
    if (configuration.model_identity, configuration.no_debug) != (before.model_identity, before.no_debug):
        return session.reload(configuration)
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
    if args.terminate_debuggee is False and backend is not None and not backend.is_abandoned and backend.is_ready:

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


@requests.request(when=When.LAUNCHED)
def set_breakpoints(session: AdapterSession, args: SetBreakpointsArguments) -> SetBreakpointsResponseBody:
    """Lines of files: none of them are places of a model yet, and the client is told so."""
    name = args.source.path or args.source.name or "this file"
    message = f"{name} is not part of a model: set a function breakpoint on a module, such as '*.layers.3'"
    lines = [wanted.line for wanted in args.breakpoints or []] or (args.lines or [])
    return SetBreakpointsResponseBody(
        breakpoints=[Breakpoint(verified=False, line=line, message=message, reason="failed") for line in lines]
    )


@requests.request(when=When.LAUNCHED, supports_function_breakpoints=True)
def set_function_breakpoints(
    session: AdapterSession, args: SetFunctionBreakpointsArguments
) -> SetFunctionBreakpointsResponseBody | Reply[SetFunctionBreakpointsResponseBody]:
    """Replaces the breakpoints on modules; before the model is loaded they are pending."""
    breakpoints = session.breakpoints
    breakpoints.replace(args.breakpoints)
    return _placed(session, lambda: SetFunctionBreakpointsResponseBody(breakpoints=breakpoints.function_states))


@requests.request(when=When.LAUNCHED, supports_instruction_breakpoints=True)
def set_instruction_breakpoints(
    session: AdapterSession, args: SetInstructionBreakpointsArguments
) -> SetInstructionBreakpointsResponseBody | Reply[SetInstructionBreakpointsResponseBody]:
    """Replaces the breakpoints on operations by their addresses, which are the same in every session."""
    breakpoints = session.breakpoints
    breakpoints.replace_instructions(args.breakpoints)
    return _placed(session, lambda: SetInstructionBreakpointsResponseBody(breakpoints=breakpoints.instruction_states))


def _placed(session: AdapterSession, body: Callable[[], T]) -> T | Reply[T]:
    """The answer once the engine has placed the breakpoints; at once while there is none."""
    if session.backend is None or not session.backend.is_ready or session.backend.is_abandoned:
        return body()
    reply: Reply[T] = Reply()

    def placed(answer: Reply[None]) -> None:
        try:
            answer.result()
        except RequestError as error:
            reply.fail(error)
            return
        reply.settle(body())

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


def forwarded(command: str, **capabilities: bool) -> None:
    """A request that belongs to the engine. Its arguments are checked here too, so that wrong ones need no model."""
    arguments = {**REQUESTS, **LLM_REQUESTS}[command].arguments
    decoder: msgspec.json.Decoder[object] | None = msgspec.json.Decoder(arguments) if arguments else None

    def forward(session: AdapterSession, request: Request) -> Reply[object]:
        if decoder is not None:
            decode_arguments(decoder, request)
        return session.forward(request)

    requests.request(when=When.LAUNCHED, command=command, **capabilities)(forward)


forwarded("continue")
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
forwarded("llm/status")
forwarded("llm/inlineValues")
forwarded("llm/gradients")
forwarded("llm/saliency")
forwarded("llm/lens")
forwarded("llm/attribution")
forwarded("llm/tensor")
forwarded("llm/tensorLiteral")
forwarded("llm/saveTensor")
forwarded("pause")
forwarded("stackTrace", supports_delayed_stack_trace_loading=True)
forwarded("scopes")
forwarded("variables")
forwarded("evaluate", supports_evaluate_for_hovers=True, supports_clipboard_context=True)
forwarded("readMemory", supports_read_memory_request=True)
forwarded("writeMemory", supports_write_memory_request=True)
forwarded("completions", supports_completions_request=True)
