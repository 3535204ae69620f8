"""Requests that begin, steer and end a session: `cancel` to `pause`, in the specification's order; the error body."""

from typing import Any, Literal

import msgspec

from dap_server.protocol.messages import Int32, SafeUInt, Seq, Struct, UInt31, UInt32
from dap_server.protocol.types import (
    Breakpoint,
    BreakpointLocation,
    DataBreakpoint,
    DataBreakpointAccessType,
    ErrorMessage,
    ExceptionFilterOptions,
    ExceptionOptions,
    FunctionBreakpoint,
    InstructionBreakpoint,
    Source,
    SourceBreakpoint,
    SteppingGranularity,
)


class ErrorResponseBody(Struct):
    """The body of every response without success; it is there even when it is empty."""

    error: ErrorMessage | None = None


class CancelArguments(Struct):
    """Which request or progress the client no longer wants; it is still answered, or ended."""

    request_id: Seq | None = None
    progress_id: str | None = None


class RunInTerminalRequestArguments(Struct):
    """A command that the client is to run in a terminal of its own."""

    cwd: str
    args: list[str]
    kind: Literal["integrated", "external"] | None = None
    title: str | None = None
    env: dict[str, str | None] | None = None
    """None removes the variable."""
    args_can_be_interpreted_by_shell: bool | None = None


class RunInTerminalResponseBody(Struct):
    """The processes that the client started."""

    process_id: Int32 | None = None
    shell_process_id: Int32 | None = None


class StartDebuggingRequestArguments(Struct):
    """A further session, of the same type, that the client is to start."""

    configuration: dict[str, Any]
    request: Literal["launch", "attach"]
    output_presentation: Literal["separate", "mergeWithParent"] | None = None


class InitializeRequestArguments(Struct):
    """Who the client is and what it can do. The answer's body is `Capabilities`."""

    adapter_id: str = msgspec.field(name="adapterID")
    client_id: str | None = msgspec.field(name="clientID", default=None)
    client_name: str | None = None
    locale: str | None = None
    lines_start_at_1: bool | None = None
    """Missing is true, as for columns."""
    columns_start_at_1: bool | None = None
    path_format: str | None = None
    """`path`, also when missing, or `uri`."""
    supports_variable_type: bool | None = None
    supports_variable_paging: bool | None = None
    supports_run_in_terminal_request: bool | None = None
    supports_memory_references: bool | None = None
    supports_progress_reporting: bool | None = None
    supports_invalidated_event: bool | None = None
    supports_memory_event: bool | None = None
    supports_args_can_be_interpreted_by_shell: bool | None = None
    supports_start_debugging_request: bool | None = None
    supports_ansi_styling: bool | None = msgspec.field(name="supportsANSIStyling", default=None)


class ConfigurationDoneArguments(Struct):
    """Nothing: the client has sent all breakpoints."""


class LaunchRequestArguments(Struct):
    """What the specification says of `launch`; the options of an adapter come on top."""

    no_debug: bool | None = None
    restart: Any = msgspec.field(name="__restart", default=None)
    """What the `terminated` event of the session before asked to get back."""


class AttachRequestArguments(Struct):
    """What the specification says of `attach`; the options of an adapter come on top."""

    restart: Any = msgspec.field(name="__restart", default=None)


class RestartArguments(Struct):
    """The launch or attach configuration as it is now."""

    arguments: dict[str, Any] | None = None


class DisconnectArguments(Struct):
    """What becomes of the debuggee when the session ends."""

    restart: bool | None = None
    """The session ends to start anew."""
    terminate_debuggee: bool | None = None
    suspend_debuggee: bool | None = None


class TerminateArguments(Struct):
    """Whether the debuggee ends to start anew."""

    restart: bool | None = None


class BreakpointLocationsArguments(Struct):
    """The range of a source in which breakpoints are to be found; a line alone means all of it."""

    source: Source
    line: SafeUInt
    column: SafeUInt | None = None
    end_line: SafeUInt | None = None
    end_column: SafeUInt | None = None


class BreakpointLocationsResponseBody(Struct):
    """The places in the range where a breakpoint can be, sorted."""

    breakpoints: list[BreakpointLocation]


class SetBreakpointsArguments(Struct):
    """All breakpoints that a source is to have from now on."""

    source: Source
    breakpoints: list[SourceBreakpoint] | None = None
    lines: list[SafeUInt] | None = None
    """Deprecated form of `breakpoints`."""
    source_modified: bool | None = None


class SetBreakpointsResponseBody(Struct):
    """What became of each, in the order of the arguments."""

    breakpoints: list[Breakpoint]


class SetFunctionBreakpointsArguments(Struct):
    """All function breakpoints that there are to be from now on."""

    breakpoints: list[FunctionBreakpoint]


class SetFunctionBreakpointsResponseBody(Struct):
    """What became of each, in the order of the arguments."""

    breakpoints: list[Breakpoint]


class SetExceptionBreakpointsArguments(Struct):
    """All exceptions to stop on from now on; the three lists add up."""

    filters: list[str]
    filter_options: list[ExceptionFilterOptions] | None = None
    exception_options: list[ExceptionOptions] | None = None


class SetExceptionBreakpointsResponseBody(Struct):
    """What became of each of `filters`, then of `filter_options`, then of `exception_options`."""

    breakpoints: list[Breakpoint] | None = None


class DataBreakpointInfoArguments(Struct):
    """A value that may be watched: a child of a variable, an expression or an address."""

    name: str
    variables_reference: UInt31 | None = None
    frame_id: Int32 | None = None
    bytes: UInt32 | None = None
    as_address: bool | None = None
    mode: str | None = None


class DataBreakpointInfoResponseBody(Struct):
    """How the value may be watched."""

    data_id: str | None
    """None if it cannot be watched; then the description says why."""
    description: str
    access_types: list[DataBreakpointAccessType] | None = None
    can_persist: bool | None = None
    """The breakpoint may be set again in a later session."""


class SetDataBreakpointsArguments(Struct):
    """All data breakpoints that there are to be from now on."""

    breakpoints: list[DataBreakpoint]


class SetDataBreakpointsResponseBody(Struct):
    """What became of each, in the order of the arguments."""

    breakpoints: list[Breakpoint]


class SetInstructionBreakpointsArguments(Struct):
    """All instruction breakpoints that there are to be from now on."""

    breakpoints: list[InstructionBreakpoint]


class SetInstructionBreakpointsResponseBody(Struct):
    """What became of each, in the order of the arguments."""

    breakpoints: list[Breakpoint]


class ContinueArguments(Struct):
    """Who is to run on."""

    thread_id: Int32
    single_thread: bool | None = None


class ContinueResponseBody(Struct):
    """Who runs on."""

    all_threads_continued: bool | None = None
    """Missing is true."""


class NextArguments(Struct):
    """Who is to step, and how far."""

    thread_id: Int32
    single_thread: bool | None = None
    granularity: SteppingGranularity | None = None


class StepInArguments(Struct):
    """Who is to step into what, and how far."""

    thread_id: Int32
    single_thread: bool | None = None
    target_id: Int32 | None = None
    """From the `stepInTargets` request."""
    granularity: SteppingGranularity | None = None


class StepOutArguments(Struct):
    """Who is to step out, and how far."""

    thread_id: Int32
    single_thread: bool | None = None
    granularity: SteppingGranularity | None = None


class StepBackArguments(Struct):
    """Who is to step back, and how far."""

    thread_id: Int32
    single_thread: bool | None = None
    granularity: SteppingGranularity | None = None


class ReverseContinueArguments(Struct):
    """Who is to run back."""

    thread_id: Int32
    single_thread: bool | None = None


class RestartFrameArguments(Struct):
    """The frame that is to run again from its start."""

    frame_id: Int32


class GotoArguments(Struct):
    """Where the thread is to go on from."""

    thread_id: Int32
    target_id: Int32
    """From the `gotoTargets` request."""


class PauseArguments(Struct):
    """Who is to stop."""

    thread_id: Int32
