"""Requests that look at a session's state and change it: `stackTrace` to `locations`, in the specification's order."""

from typing import Literal

from dap_server.protocol.messages import Int32, SafeInt, SafeUInt, Struct, UInt31, UInt32
from dap_server.protocol.types import (
    CompletionItem,
    DisassembledInstruction,
    ExceptionBreakMode,
    ExceptionDetails,
    GotoTarget,
    Module,
    Scope,
    Source,
    StackFrame,
    StackFrameFormat,
    StepInTarget,
    Thread,
    ValueFormat,
    Variable,
    VariablePresentationHint,
)


class StackTraceArguments(Struct):
    """Whose frames, and which of them; no `levels`, or 0, means all."""

    thread_id: Int32
    start_frame: UInt32 | None = None
    levels: UInt32 | None = None
    format: StackFrameFormat | None = None


class StackTraceResponseBody(Struct):
    """The frames, innermost first; fewer than asked for means that there are no more."""

    stack_frames: list[StackFrame]
    total_frames: UInt32 | None = None


class ScopesArguments(Struct):
    """The frame whose scopes are asked for."""

    frame_id: Int32


class ScopesResponseBody(Struct):
    """The scopes of the frame."""

    scopes: list[Scope]


class VariablesArguments(Struct):
    """Whose children, and which of them; no `count`, or 0, means all."""

    variables_reference: UInt31
    filter: Literal["indexed", "named"] | None = None
    start: UInt32 | None = None
    """Past the end there is nothing, which is no error."""
    count: UInt32 | None = None
    format: ValueFormat | None = None


class VariablesResponseBody(Struct):
    """The children; fewer than asked for means that there are no more."""

    variables: list[Variable]


class SetVariableArguments(Struct):
    """A new value for a child of a variable or scope."""

    variables_reference: UInt31
    name: str
    value: str
    format: ValueFormat | None = None


class SetVariableResponseBody(Struct):
    """The value as it is now; a reference here replaces the ones that the variable and its children had."""

    value: str
    type: str | None = None
    variables_reference: UInt31 | None = None
    named_variables: UInt31 | None = None
    indexed_variables: UInt31 | None = None
    memory_reference: str | None = None
    value_location_reference: Int32 | None = None


class SourceArguments(Struct):
    """The source whose text is asked for; old clients give only the reference."""

    source_reference: UInt31
    source: Source | None = None


class SourceResponseBody(Struct):
    """The text of a source."""

    content: str
    mime_type: str | None = None


class ThreadsResponseBody(Struct):
    """All threads; a debuggee without any has one all the same."""

    threads: list[Thread]


class TerminateThreadsArguments(Struct):
    """The threads that are to end."""

    thread_ids: list[Int32] | None = None


class ModulesArguments(Struct):
    """Which modules; no `module_count`, or 0, means all."""

    start_module: Int32 | None = None
    module_count: UInt32 | None = None


class ModulesResponseBody(Struct):
    """The modules asked for."""

    modules: list[Module]
    total_modules: SafeUInt | None = None


class LoadedSourcesArguments(Struct):
    """Nothing: all loaded sources are asked for."""


class LoadedSourcesResponseBody(Struct):
    """All sources that the debuggee has loaded."""

    sources: list[Source]


class EvaluateArguments(Struct):
    """An expression, and where it is to be evaluated; without a frame, globally."""

    expression: str
    frame_id: Int32 | None = None
    line: SafeUInt | None = None
    column: SafeUInt | None = None
    source: Source | None = None
    context: str | None = None
    """`watch`, `repl`, `hover` (free of side effects), `clipboard`, `variables` or another."""
    format: ValueFormat | None = None


class EvaluateResponseBody(Struct):
    """The value of an expression, with children if its reference is above 0."""

    result: str
    variables_reference: UInt31
    type: str | None = None
    presentation_hint: VariablePresentationHint | None = None
    named_variables: UInt31 | None = None
    indexed_variables: UInt31 | None = None
    memory_reference: str | None = None
    value_location_reference: Int32 | None = None


class SetExpressionArguments(Struct):
    """A new value for what an expression names."""

    expression: str
    value: str
    frame_id: Int32 | None = None
    format: ValueFormat | None = None


class SetExpressionResponseBody(Struct):
    """The value as it is now."""

    value: str
    type: str | None = None
    presentation_hint: VariablePresentationHint | None = None
    variables_reference: UInt31 | None = None
    named_variables: UInt31 | None = None
    indexed_variables: UInt31 | None = None
    memory_reference: str | None = None
    value_location_reference: Int32 | None = None


class StepInTargetsArguments(Struct):
    """The frame that is to step into something."""

    frame_id: Int32


class StepInTargetsResponseBody(Struct):
    """What `stepIn` may go into."""

    targets: list[StepInTarget]


class GotoTargetsArguments(Struct):
    """The place to jump to."""

    source: Source
    line: SafeUInt
    column: SafeUInt | None = None


class GotoTargetsResponseBody(Struct):
    """What `goto` may jump to near that place."""

    targets: list[GotoTarget]


class CompletionsArguments(Struct):
    """What the user has typed, and where the caret is."""

    text: str
    column: SafeUInt
    frame_id: Int32 | None = None
    line: SafeUInt | None = None


class CompletionsResponseBody(Struct):
    """What may come next."""

    targets: list[CompletionItem]


class ExceptionInfoArguments(Struct):
    """The thread that an exception stopped."""

    thread_id: Int32


class ExceptionInfoResponseBody(Struct):
    """The exception that stopped the thread."""

    exception_id: str
    break_mode: ExceptionBreakMode
    description: str | None = None
    details: ExceptionDetails | None = None


class ReadMemoryArguments(Struct):
    """Which bytes to read."""

    memory_reference: str
    count: SafeUInt
    offset: SafeInt | None = None


class ReadMemoryResponseBody(Struct):
    """The bytes; fewer than asked for, and none unreadable, means that the memory ends there."""

    address: str
    """Of the first byte: hexadecimal after `0x`, else decimal."""
    unreadable_bytes: SafeUInt | None = None
    data: str | None = None
    """In base64."""


class WriteMemoryArguments(Struct):
    """Which bytes to write."""

    memory_reference: str
    data: str
    """In base64."""
    offset: SafeInt | None = None
    allow_partial: bool | None = None
    """Write up to the first byte that cannot be written, instead of nothing."""


class WriteMemoryResponseBody(Struct):
    """How much was written, if less was allowed."""

    offset: SafeInt | None = None
    bytes_written: UInt32 | None = None


class DisassembleArguments(Struct):
    """Which instructions to show."""

    memory_reference: str
    instruction_count: UInt32
    offset: SafeInt | None = None
    """In bytes."""
    instruction_offset: SafeInt | None = None
    resolve_symbols: bool | None = None


class DisassembleResponseBody(Struct):
    """As many instructions as were asked for, invalid ones included."""

    instructions: list[DisassembledInstruction]


class LocationsArguments(Struct):
    """A location reference that a variable, a value or an output came with."""

    location_reference: Int32


class LocationsResponseBody(Struct):
    """The place that the reference stands for."""

    source: Source
    line: SafeUInt
    column: SafeUInt | None = None
    end_line: SafeUInt | None = None
    end_column: SafeUInt | None = None
