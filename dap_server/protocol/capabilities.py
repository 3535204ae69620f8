"""What a debug adapter can do, as it answers `initialize` and as the `capabilities` event changes it."""

from typing import Literal

import msgspec

from dap_server.protocol.messages import Struct, UInt32
from dap_server.protocol.types import ChecksumAlgorithm


class ExceptionBreakpointsFilter(Struct):
    """A kind of exception that the user may choose to stop on."""

    filter: str
    label: str
    description: str | None = None
    default: bool | None = None
    supports_condition: bool | None = None
    condition_description: str | None = None


class BreakpointMode(Struct):
    """A way of breaking that the user may choose for a breakpoint."""

    mode: str
    label: str
    applies_to: list[str]
    """`source`, `exception`, `data`, `instruction`; more may come."""
    description: str | None = None


class ColumnDescriptor(Struct):
    """A column of the modules view: which attribute of a module it shows, and how."""

    attribute_name: str
    label: str
    format: str | None = None
    type: Literal["string", "number", "boolean", "unixTimestampUTC"] | None = None
    width: UInt32 | None = None
    """In characters."""


class Capabilities(Struct):
    """What the debug adapter can do; a flag that is missing is false."""

    supports_configuration_done_request: bool | None = None
    supports_function_breakpoints: bool | None = None
    supports_conditional_breakpoints: bool | None = None
    supports_hit_conditional_breakpoints: bool | None = None
    supports_evaluate_for_hovers: bool | None = None
    exception_breakpoint_filters: list[ExceptionBreakpointsFilter] | None = None
    supports_step_back: bool | None = None
    supports_set_variable: bool | None = None
    supports_restart_frame: bool | None = None
    supports_goto_targets_request: bool | None = None
    supports_step_in_targets_request: bool | None = None
    supports_completions_request: bool | None = None
    completion_trigger_characters: list[str] | None = None
    supports_modules_request: bool | None = None
    additional_module_columns: list[ColumnDescriptor] | None = None
    supported_checksum_algorithms: list[ChecksumAlgorithm] | None = None
    supports_restart_request: bool | None = None
    supports_exception_options: bool | None = None
    supports_value_formatting_options: bool | None = None
    supports_exception_info_request: bool | None = None
    support_terminate_debuggee: bool | None = None  # the specification spells these two without the s
    support_suspend_debuggee: bool | None = None
    supports_delayed_stack_trace_loading: bool | None = None
    supports_loaded_sources_request: bool | None = None
    supports_log_points: bool | None = None
    supports_terminate_threads_request: bool | None = None
    supports_set_expression: bool | None = None
    supports_terminate_request: bool | None = None
    supports_data_breakpoints: bool | None = None
    supports_read_memory_request: bool | None = None
    supports_write_memory_request: bool | None = None
    supports_disassemble_request: bool | None = None
    supports_cancel_request: bool | None = None
    supports_breakpoint_locations_request: bool | None = None
    supports_clipboard_context: bool | None = None
    supports_stepping_granularity: bool | None = None
    supports_instruction_breakpoints: bool | None = None
    supports_exception_filter_options: bool | None = None
    supports_single_thread_execution_requests: bool | None = None
    supports_data_breakpoint_bytes: bool | None = None
    breakpoint_modes: list[BreakpointMode] | None = None
    supports_ansi_styling: bool | None = msgspec.field(name="supportsANSIStyling", default=None)
