"""Where breakpoints would have stopped a step, seen as it runs again: conditions are judged in its very moments."""

from __future__ import annotations

from types import FrameType
from typing import Any

from torch import nn

from dap_server.engine.execution.breakpoint_set import Places
from dap_server.engine.execution.judging import Candidate, Judging, Preparations
from dap_server.engine.execution.operation_trace import Traced
from dap_server.engine.execution.operations import Operation
from dap_server.engine.execution.probes import Event, TraceProbe
from dap_server.modelmap.places import Phase, Place


class Hindsight:
    """A witness of one replay. Counts nothing, and says nothing.

    Attributes:
        events: indexes, in the trace, of places with a breakpoint that stops there.
        operations: ordinals of operations of which one stops, each with its phase.
    """

    def __init__(self, judging: Judging, places: Places, step: int, trace: TraceProbe) -> None:
        """`places`: of the breakpoints that count."""
        self.events: set[int] = set()
        self.operations: set[tuple[int, Phase]] = set()
        self._judging, self._places, self._step, self._trace = judging, places, step, trace
        self._preparations = Preparations(judging, lambda: trace.is_deaf)

    def begins(self, index: int, event: Event, module: nn.Module, call: FrameType) -> None:
        ids = self._places.at_module(module, "before")
        self._look(index, ids, Candidate(self._place(event), self._trace.generation, call))
        self._preparations.begins(event.path, module, call)

    def ends(self, index: int, event: Event, module: nn.Module, call: FrameType, output: Any) -> None:
        prepared = self._preparations.ends(call)
        ids = self._places.at_module(module, "after")
        candidate = Candidate(self._place(event), self._trace.generation, call, output, prepared=prepared)
        self._look(index, ids, candidate)

    def at(self, index: int, event: Event) -> None:
        ids = self._places.at_pseudo(event.path, event.phase)
        self._look(index, ids, Candidate(self._place(event), self._trace.generation))

    def operation(self, operation: Operation, traced: Traced, phase: Phase) -> None:
        site = operation.site
        if ids := self._places.at_operation(operation.name, operation.full_name, site, phase):
            place = Place(self._step, site.path, phase, traced.occurrence, operation.full_name)
            if self._judging.held(ids, Candidate(place, self._trace.generation, operation=operation)):
                self.operations.add((site.ordinal, phase))

    def close(self) -> None:
        """The replay is over, at its end or before."""
        self._preparations.clear()

    def _look(self, index: int, ids: list[int], candidate: Candidate) -> None:
        if ids and self._judging.held(ids, candidate):
            self.events.add(index)

    def _place(self, event: Event) -> Place:
        return Place(self._step, event.path, event.phase, event.occurrence)
