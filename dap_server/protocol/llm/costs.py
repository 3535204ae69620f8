"""What breakpoints cost the run."""

from __future__ import annotations

from typing import Literal

from dap_server.protocol.llm.control import BreakpointKind
from dap_server.protocol.messages import SafeUInt, Struct


class BreakpointCost(Struct):
    """Of one breakpoint, measured in the present run."""

    id: int
    """As `setBreakpoints` and its like have answered it."""
    name: str
    kind: BreakpointKind
    places: SafeUInt
    """How many modules, or places of token selection, it stands on."""
    judged: Literal["at once", "once a step"]
    """Where the run passes it, or by a flag that is read once a step, after which the step runs again."""
    why: str | None = None
    """Why it has to be judged at once; missing where that could wait."""
    evaluations: SafeUInt = 0
    seconds: float = 0.0
    """Of the model's thread, so far."""
    per_token: float = 0.0
    """Seconds of a step in which it was judged; one that has run again is another."""
    share: float | None = None
    """Of the time of a step, 0 to 1; missing before one is over."""


class BreakpointCostsArguments(Struct):
    """`llm/breakpointCosts`."""


class BreakpointCostsResponseBody(Struct):
    """Of all breakpoints that can be hit."""

    breakpoints: list[BreakpointCost]
    seconds_per_token: float | None = None
    """That a step takes, breakpoints and all, stops not counted; missing before one is over."""
