"""Messages beyond DAP: requests and events whose names start with `llm/`, typed like the standard ones."""

from __future__ import annotations

from typing import Literal

from dap_server.protocol.messages import Struct
from dap_server.protocol.requests import SetFunctionBreakpointsResponseBody
from dap_server.protocol.tables import RequestType


class PlaceBreakpoint(Struct):
    """A breakpoint by name, with the number that the adapter gave it."""

    id: int
    name: str


class PlaceBreakpointsArguments(Struct):
    """`llm/placeBreakpoints`, adapter to engine: all breakpoints, whatever request they came by."""

    breakpoints: list[PlaceBreakpoint]


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


LLM_REQUESTS: dict[str, RequestType] = {
    "llm/reverseStepIn": RequestType(ReverseStepArguments, None),
    "llm/reverseStepOut": RequestType(ReverseStepArguments, None),
    "llm/runToStep": RequestType(RunToStepArguments, None),
    "llm/placeBreakpoints": RequestType(PlaceBreakpointsArguments, SetFunctionBreakpointsResponseBody),
}
LLM_EVENTS: dict[str, type | None] = {
    "llm/loading": LoadingEventBody,
    "llm/running": RunningEventBody,
}
