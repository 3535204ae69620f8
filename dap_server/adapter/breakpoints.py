"""Breakpoints as the client knows them: numbered here, long before a model is there to place them in."""

from __future__ import annotations

import itertools

from dap_server.modelmap.patterns import PatternError, parse_pattern
from dap_server.protocol.llm.control import PlaceBreakpoint, PlaceBreakpointsArguments
from dap_server.protocol.types import Breakpoint, FunctionBreakpoint

LOADING = "the model is not loaded yet"
OFF = "not placed: this run is without debugging"


class Breakpoints:
    """The function breakpoints of a session. A breakpoint that is set again keeps its number."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._known: dict[str, int] = {}
        self._wanted: list[FunctionBreakpoint] = []
        self._are_off = False
        self.states: list[Breakpoint] = []
        """What the client was last told, in the order of its request."""

    def replace(self, wanted: list[FunctionBreakpoint]) -> None:
        """Takes the client's list. What cannot be is said at once, the rest is pending."""
        self._wanted = wanted
        self.states = [self._first_state(breakpoint) for breakpoint in wanted]

    def to_place(self) -> PlaceBreakpointsArguments:
        """Those that a model has to be searched for."""
        if self._are_off:
            return PlaceBreakpointsArguments(breakpoints=[])
        pairs = zip(self._wanted, self.states, strict=True)
        return PlaceBreakpointsArguments(
            breakpoints=[PlaceBreakpoint(id=state.id or 0, name=b.name) for b, state in pairs if _problem(b) is None]
        )

    def settle(self, placed: list[Breakpoint]) -> None:
        """Takes the engine's answer to `to_place`."""
        by_id = {breakpoint.id: breakpoint for breakpoint in placed}
        self.states = [by_id.get(state.id, state) for state in self.states]

    def unsettle(self, are_off: bool) -> None:
        """Another model will come; `are_off` says whether it runs without debugging."""
        self._are_off = are_off
        self.replace(self._wanted)

    def _first_state(self, breakpoint: FunctionBreakpoint) -> Breakpoint:
        id = self._known.setdefault(breakpoint.name, next(self._ids))
        problem = _problem(breakpoint)
        if problem:
            return Breakpoint(verified=False, id=id, message=problem, reason="failed")
        if self._are_off:
            return Breakpoint(verified=False, id=id, message=OFF, reason="failed")
        return Breakpoint(verified=False, id=id, message=LOADING, reason="pending")


def _problem(breakpoint: FunctionBreakpoint) -> str | None:
    """What is wrong whatever the model."""
    if breakpoint.condition or breakpoint.hit_condition:
        return "conditions and hit conditions are not supported yet: remove them"
    try:
        parse_pattern(breakpoint.name)
    except PatternError as error:
        return str(error)
    return None
