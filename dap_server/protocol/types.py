"""What arguments, bodies and events are made of, in the specification's order."""

from typing import Any, Literal

from dap_server.protocol.messages import Int32, SafeInt, SafeUInt, Struct, UInt31, UInt32

ChecksumAlgorithm = Literal["MD5", "SHA1", "SHA256", "timestamp"]
CompletionItemType = Literal[
    "method",
    "function",
    "constructor",
    "field",
    "variable",
    "class",
    "interface",
    "module",
    "property",
    "unit",
    "value",
    "enum",
    "keyword",
    "snippet",
    "text",
    "color",
    "file",
    "reference",
    "customcolor",
]
DataBreakpointAccessType = Literal["read", "write", "readWrite"]
ExceptionBreakMode = Literal["never", "always", "unhandled", "userUnhandled"]
SteppingGranularity = Literal["statement", "line", "instruction"]


class ErrorMessage(Struct):
    """Why a request failed; `Message` in the specification."""

    id: Int32
    """Stable within one debug adapter, so that support can look the error up."""
    format: str
    """The text, with `{name}` where one of `variables` goes."""
    variables: dict[str, str] | None = None
    send_telemetry: bool | None = None
    show_user: bool | None = None
    url: str | None = None
    url_label: str | None = None


class Module(Struct):
    """A row of the modules view."""

    id: int | str
    name: str
    path: str | None = None
    is_optimized: bool | None = None
    is_user_code: bool | None = None
    version: str | None = None
    symbol_status: str | None = None
    symbol_file_path: str | None = None
    date_time_stamp: str | None = None
    address_range: str | None = None


class Thread(Struct):
    """Something that runs and stops on its own."""

    id: Int32
    name: str


class Checksum(Struct):
    """What the content of a source hashes to."""

    algorithm: ChecksumAlgorithm
    checksum: str


class Source(Struct):
    """A piece of code to show: a file by its path, or a text that the `source` request answers by its reference."""

    name: str | None = None
    path: str | None = None
    source_reference: UInt31 | None = None
    """If above 0 the text comes from the `source` request, even if there is a path."""
    presentation_hint: Literal["normal", "emphasize", "deemphasize"] | None = None
    origin: str | None = None
    sources: "list[Source] | None" = None
    """Sources related to this one, such as those that it was generated from."""
    adapter_data: Any = None
    """Comes back from the client unchanged, even in a later session."""
    checksums: list[Checksum] | None = None


class StackFrame(Struct):
    """Where one call of a stopped thread stands; without a source, line and column are 0."""

    id: Int32
    """Unique over all threads."""
    name: str
    line: SafeUInt
    column: SafeUInt
    source: Source | None = None
    end_line: SafeUInt | None = None
    end_column: SafeUInt | None = None
    can_restart: bool | None = None
    """Missing is true, if the capability `supports_restart_frame` is."""
    instruction_pointer_reference: str | None = None
    module_id: int | str | None = None
    presentation_hint: Literal["normal", "label", "subtle"] | None = None


class Scope(Struct):
    """A named set of variables of a frame."""

    name: str
    variables_reference: UInt31
    expensive: bool
    """Clients fetch it only when the user opens it."""
    presentation_hint: str | None = None
    """`arguments`, `locals`, `registers`, `returnValue` or another."""
    named_variables: UInt31 | None = None
    indexed_variables: UInt31 | None = None
    source: Source | None = None
    line: SafeUInt | None = None
    column: SafeUInt | None = None
    end_line: SafeUInt | None = None
    end_column: SafeUInt | None = None


class VariablePresentationHint(Struct):
    """How to draw a variable; all strings may also have values that the specification does not list."""

    kind: str | None = None
    attributes: list[str] | None = None
    visibility: str | None = None
    lazy: bool | None = None
    """The value is fetched on a click: `variables` of its reference answers exactly one variable."""


class Variable(Struct):
    """A name with a value, and with children if its reference is above 0."""

    name: str
    value: str
    variables_reference: UInt31
    type: str | None = None
    presentation_hint: VariablePresentationHint | None = None
    evaluate_name: str | None = None
    """The expression that `evaluate` understands for it."""
    named_variables: UInt31 | None = None
    indexed_variables: UInt31 | None = None
    """Clients fetch the children in pages if this is set, and named ones only if `named_variables` is set too."""
    memory_reference: str | None = None
    declaration_location_reference: Int32 | None = None
    value_location_reference: Int32 | None = None


class BreakpointLocation(Struct):
    """A place where a breakpoint can be."""

    line: SafeUInt
    column: SafeUInt | None = None
    end_line: SafeUInt | None = None
    end_column: SafeUInt | None = None


class SourceBreakpoint(Struct):
    """A breakpoint that the client wants on a line; with `log_message` it writes instead of stopping."""

    line: SafeUInt
    column: SafeUInt | None = None
    condition: str | None = None
    hit_condition: str | None = None
    """Counts only the hits that meet `condition`."""
    log_message: str | None = None
    mode: str | None = None


class FunctionBreakpoint(Struct):
    """A breakpoint that the client wants on a name."""

    name: str
    condition: str | None = None
    hit_condition: str | None = None


class DataBreakpoint(Struct):
    """A breakpoint that the client wants on reads or writes of a value."""

    data_id: str
    """From the `dataBreakpointInfo` request."""
    access_type: DataBreakpointAccessType | None = None
    condition: str | None = None
    hit_condition: str | None = None


class InstructionBreakpoint(Struct):
    """A breakpoint that the client wants on an instruction."""

    instruction_reference: str
    offset: SafeInt | None = None
    """In bytes."""
    condition: str | None = None
    hit_condition: str | None = None
    mode: str | None = None


class Breakpoint(Struct):
    """What became of a breakpoint that the client wanted."""

    verified: bool
    id: Int32 | None = None
    """Needed for `breakpoint` events and for `hit_breakpoint_ids`."""
    message: str | None = None
    """Says why it is not verified."""
    source: Source | None = None
    line: SafeUInt | None = None
    column: SafeUInt | None = None
    end_line: SafeUInt | None = None
    end_column: SafeUInt | None = None
    instruction_reference: str | None = None
    offset: SafeInt | None = None
    reason: Literal["pending", "failed"] | None = None
    """`pending` may be verified later, `failed` will not."""


class StepInTarget(Struct):
    """A call that `stepIn` may go into."""

    id: Int32
    label: str
    line: SafeUInt | None = None
    column: SafeUInt | None = None
    end_line: SafeUInt | None = None
    end_column: SafeUInt | None = None


class GotoTarget(Struct):
    """A place that `goto` may jump to."""

    id: Int32
    label: str
    line: SafeUInt
    column: SafeUInt | None = None
    end_line: SafeUInt | None = None
    end_column: SafeUInt | None = None
    instruction_pointer_reference: str | None = None


class CompletionItem(Struct):
    """A proposal for what the user may type next."""

    label: str
    text: str | None = None
    """What is inserted, if it is not the label."""
    sort_text: str | None = None
    detail: str | None = None
    type: CompletionItemType | None = None
    start: UInt32 | None = None
    """Where in the text of the request the proposal goes; `length` characters there are replaced."""
    length: UInt32 | None = None
    selection_start: UInt32 | None = None
    selection_length: UInt32 | None = None


class ValueFormat(Struct):
    """How values are to be written."""

    hex: bool | None = None


class StackFrameFormat(ValueFormat):
    """What the names of stack frames are to show."""

    parameters: bool | None = None
    parameter_types: bool | None = None
    parameter_names: bool | None = None
    parameter_values: bool | None = None
    line: bool | None = None
    module: bool | None = None
    include_all: bool | None = None
    """Also frames that would be hidden."""


class ExceptionFilterOptions(Struct):
    """An exception filter that the client wants, with a condition."""

    filter_id: str
    condition: str | None = None
    mode: str | None = None


class ExceptionPathSegment(Struct):
    """Names to match, or with `negate` not to match, at one level of a tree of exceptions."""

    names: list[str]
    negate: bool | None = None


class ExceptionOptions(Struct):
    """When to stop on some of a tree of exceptions."""

    break_mode: ExceptionBreakMode
    path: list[ExceptionPathSegment] | None = None


class ExceptionDetails(Struct):
    """All that is known of an exception."""

    message: str | None = None
    type_name: str | None = None
    full_type_name: str | None = None
    evaluate_name: str | None = None
    stack_trace: str | None = None
    inner_exception: "list[ExceptionDetails] | None" = None


class DisassembledInstruction(Struct):
    """One instruction of the debuggee's code."""

    address: str
    """Hexadecimal after `0x`, else decimal."""
    instruction: str
    instruction_bytes: str | None = None
    symbol: str | None = None
    location: Source | None = None
    """May be left out where it is that of the instruction before."""
    line: SafeUInt | None = None
    column: SafeUInt | None = None
    end_line: SafeUInt | None = None
    end_column: SafeUInt | None = None
    presentation_hint: Literal["normal", "invalid"] | None = None
