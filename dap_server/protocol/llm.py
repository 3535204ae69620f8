"""Messages beyond DAP: requests and events whose names start with `llm/`, typed like the standard ones."""

from __future__ import annotations

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
    "llm/placeBreakpoints": RequestType(PlaceBreakpointsArguments, SetFunctionBreakpointsResponseBody),
}
LLM_EVENTS: dict[str, type | None] = {
    "llm/loading": LoadingEventBody,
    "llm/running": RunningEventBody,
}
