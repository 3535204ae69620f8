"""Own messages that move a run, and tell of it."""

from __future__ import annotations

from typing import Literal

from dap_server.protocol.messages import Struct

BreakpointKind = Literal["function", "line", "instruction", "exception", "data", "python"]


class PlaceBreakpoint(Struct):
    """A breakpoint with the number that the adapter gave it."""

    id: int
    name: str
    """A pattern, for a function; what a line of a map names, a module path or place; an address, for an instruction; a
    filter's id, for an exception; what is watched, for data; a file, for a line of Python."""
    kind: BreakpointKind = "function"
    phase: Literal["before", "after"] | None = None
    """What its column or mode asks for; without one the names of its condition decide, and else it is `before`."""
    class_name: str | None = None
    """What the line of the map says of the module."""
    condition: str | None = None
    hit_condition: str | None = None
    log_message: str | None = None
    line: int | None = None
    """Of the file, for a line of Python."""


class PlaceBreakpointsArguments(Struct):
    """`llm/placeBreakpoints`, adapter to engine: all breakpoints, whatever request they came by."""

    breakpoints: list[PlaceBreakpoint]


class UseMapArguments(Struct):
    """`llm/useMap`, adapter to engine: which files may be the map that frames point into."""

    model: str
    """As the person named it."""
    map: str | None = None
    """Of the launch configuration."""
    candidates: list[str] = []
    """Maps in which breakpoints are set, in the order in which they came."""


class ReverseStepArguments(Struct):
    """`llm/reverseStepIn` and `llm/reverseStepOut`: what DAP's stepBack is to stepIn and stepOut."""

    thread_id: int


class RunToStepArguments(Struct):
    """`llm/runToStep`: goes to any place of any step, past or future."""

    step: int
    path: str | None = None
    """Module path or `logits`, `sample`; the beginning of the step when it is missing."""
    phase: Literal["before", "after"] = "before"


class LoadingEventBody(Struct):
    """`llm/loading`, engine to adapter: how far loading is. Editors get DAP's progress events instead."""

    message: str
    percentage: float


class RunningEventBody(Struct):
    """`llm/running`: a run is ready to begin."""

    model: str
    """Class of the model."""
    device: str
    sequences: int
    """B, how many texts are generated together."""
