"""The bodies of events, in the specification's order; `initialized` has none."""

from typing import Annotated, Any, Literal

from msgspec import Meta

from dap_server.protocol.capabilities import Capabilities
from dap_server.protocol.messages import Int32, SafeInt, SafeUInt, Seq, Struct, UInt31, UInt32
from dap_server.protocol.types import Breakpoint, Module, Source

Percentage = Annotated[float, Meta(ge=0, le=100)]


class StoppedEventBody(Struct):
    """Why execution stopped, and whose."""

    reason: str
    """`step`, `breakpoint`, `exception`, `pause`, `entry`, `goto`, `function breakpoint`, `data breakpoint`,
    `instruction breakpoint` or another."""
    description: str | None = None
    """The reason as the user reads it."""
    thread_id: Int32 | None = None
    preserve_focus_hint: bool | None = None
    text: str | None = None
    all_threads_stopped: bool | None = None
    hit_breakpoint_ids: list[Int32] | None = None


class ContinuedEventBody(Struct):
    """Who runs on, when no request said so."""

    thread_id: Int32
    all_threads_continued: bool | None = None
    """Missing is true."""


class ExitedEventBody(Struct):
    """How the debuggee ended."""

    exit_code: Int32


class TerminatedEventBody(Struct):
    """Debugging has ended."""

    restart: Any = None
    """Unless it is missing or false the client starts anew and passes it on as `__restart`."""


class ThreadEventBody(Struct):
    """A thread began or ended."""

    reason: str
    """`started`, `exited` or another."""
    thread_id: Int32


class OutputEventBody(Struct):
    """Text for the user, of the debuggee or of the adapter."""

    output: str
    category: str | None = None
    """`console`, also when missing, `important`, `stdout`, `stderr`, `telemetry` or another."""
    group: Literal["start", "startCollapsed", "end"] | None = None
    variables_reference: UInt31 | None = None
    """If above 0, what is shown instead of the text, to unfold."""
    source: Source | None = None
    line: SafeUInt | None = None
    column: SafeUInt | None = None
    data: Any = None
    location_reference: Int32 | None = None


class BreakpointEventBody(Struct):
    """A breakpoint, found by its id, is new, gone or other than it was."""

    reason: str
    """`changed`, `new`, `removed` or another."""
    breakpoint: Breakpoint


class ModuleEventBody(Struct):
    """A module is new, gone or other than it was."""

    reason: Literal["new", "changed", "removed"]
    module: Module


class LoadedSourceEventBody(Struct):
    """A source is new, gone or other than it was."""

    reason: Literal["new", "changed", "removed"]
    source: Source


class ProcessEventBody(Struct):
    """The process that is debugged from now on."""

    name: str
    system_process_id: Int32 | None = None
    """Missing for a process that is not one of the operating system."""
    is_local_process: bool | None = None
    start_method: Literal["launch", "attach", "attachForSuspendedLaunch"] | None = None
    pointer_size: UInt32 | None = None
    """In bits."""


class CapabilitiesEventBody(Struct):
    """What the adapter can do now; only what changed."""

    capabilities: Capabilities


class ProgressStartEventBody(Struct):
    """Something that takes long begins."""

    progress_id: str
    title: str
    request_id: Seq | None = None
    """The request that takes long."""
    cancellable: bool | None = None
    message: str | None = None
    percentage: Percentage | None = None


class ProgressUpdateEventBody(Struct):
    """How far it is; what is missing stays as it was."""

    progress_id: str
    message: str | None = None
    percentage: Percentage | None = None


class ProgressEndEventBody(Struct):
    """It has ended."""

    progress_id: str
    message: str | None = None


class InvalidatedEventBody(Struct):
    """What the client is to fetch again."""

    areas: list[str] | None = None
    """`all`, also when missing, `stacks`, `threads`, `variables` or another."""
    thread_id: Int32 | None = None
    stack_frame_id: Int32 | None = None


class MemoryEventBody(Struct):
    """Bytes that have changed."""

    memory_reference: str
    offset: SafeInt
    count: SafeUInt
