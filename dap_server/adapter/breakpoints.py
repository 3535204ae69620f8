"""Breakpoints as the client knows them: numbered here, long before a model is there to place them in."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from dap_server.modelmap.addresses import AddressError, address_text, parse_address
from dap_server.modelmap.patterns import PatternError, parse_pattern
from dap_server.protocol.llm.control import PlaceBreakpoint, PlaceBreakpointsArguments
from dap_server.protocol.types import Breakpoint, FunctionBreakpoint, InstructionBreakpoint

LOADING = "the model is not loaded yet"
OFF = "not placed: this run is without debugging"


@dataclass(frozen=True)
class _Wanted:
    """One breakpoint of the client.

    Attributes:
        name: or its address, as text.
        problem: what is wrong with it whatever the model.
    """

    name: str
    is_address: bool
    problem: str | None


class Breakpoints:
    """The function and instruction breakpoints of a session. A breakpoint that is set again keeps its number."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._known: dict[tuple[str, bool], int] = {}
        self._functions: list[_Wanted] = []
        self._instructions: list[_Wanted] = []
        self._are_off = False
        self._states: dict[int, Breakpoint] = {}

    @property
    def function_states(self) -> list[Breakpoint]:
        """What the client was last told, in the order of its request."""
        return [self._states[self._id(wanted)] for wanted in self._functions]

    @property
    def instruction_states(self) -> list[Breakpoint]:
        """What the client was last told, in the order of its request."""
        return [self._states[self._id(wanted)] for wanted in self._instructions]

    @property
    def states(self) -> list[Breakpoint]:
        """Of all of them."""
        return [*self.function_states, *self.instruction_states]

    def replace(self, wanted: list[FunctionBreakpoint]) -> None:
        """Takes the client's list. What cannot be is said at once, the rest is pending."""
        self._functions = [_function(breakpoint) for breakpoint in wanted]
        self._begin()

    def replace_instructions(self, wanted: list[InstructionBreakpoint]) -> None:
        """The same for those on addresses."""
        self._instructions = [_instruction(breakpoint) for breakpoint in wanted]
        self._begin()

    def to_place(self) -> PlaceBreakpointsArguments:
        """Those that a model has to be searched for."""
        possible = [] if self._are_off else [w for w in self._all if w.problem is None]
        return PlaceBreakpointsArguments(
            breakpoints=[
                PlaceBreakpoint(id=self._id(w), name=w.name, kind="instruction" if w.is_address else "function")
                for w in possible
            ]
        )

    def settle(self, placed: list[Breakpoint]) -> None:
        """Takes the engine's answer to `to_place`."""
        self._states |= {b.id: b for b in placed if b.id is not None}

    def unsettle(self, are_off: bool) -> None:
        """Another model will come; `are_off` says whether it runs without debugging."""
        self._are_off = are_off
        self._states.clear()
        self._begin()

    @property
    def _all(self) -> list[_Wanted]:
        return [*self._functions, *self._instructions]

    def _id(self, wanted: _Wanted) -> int:
        key = (wanted.name, wanted.is_address)
        if key not in self._known:
            self._known[key] = next(self._ids)
        return self._known[key]

    def _begin(self) -> None:
        """Those that are still wanted keep their states until they are placed again."""
        before = self._states
        self._states = {self._id(w): before.get(self._id(w)) or self._first_state(w) for w in self._all}

    def _first_state(self, wanted: _Wanted) -> Breakpoint:
        id = self._id(wanted)
        if wanted.problem:
            return Breakpoint(verified=False, id=id, message=wanted.problem, reason="failed")
        if self._are_off:
            return Breakpoint(verified=False, id=id, message=OFF, reason="failed")
        return Breakpoint(verified=False, id=id, message=LOADING, reason="pending")


def _function(breakpoint: FunctionBreakpoint) -> _Wanted:
    try:
        parse_pattern(breakpoint.name)
        problem = None
    except PatternError as error:
        problem = str(error)
    return _Wanted(breakpoint.name, False, _no_conditions(breakpoint) or problem)


def _instruction(breakpoint: InstructionBreakpoint) -> _Wanted:
    name, problem = breakpoint.instruction_reference, None
    try:
        name = address_text(parse_address(name, breakpoint.offset or 0))
    except AddressError as error:
        problem = str(error)
    return _Wanted(name, True, _no_conditions(breakpoint) or problem)


def _no_conditions(breakpoint: FunctionBreakpoint | InstructionBreakpoint) -> str | None:
    if breakpoint.condition or breakpoint.hit_condition:
        return "conditions and hit conditions are not supported yet: remove them"
    return None
