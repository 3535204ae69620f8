"""Where going back leads: the place before this one, the last hit, the beginning of a module.

All of it is found in traces: the lists of places that steps pass, made by running them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from dap_server.engine.execution.breakpoints import BreakpointSet
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.probes import Event, TraceProbe
from dap_server.engine.execution.stepping import HIT, Stepper, Stop
from dap_server.modelmap.places import END, LOGITS, SAMPLE, STEP, Place
from dap_server.protocol.errors import RequestError

STEP_LEVEL = -1
"""The parent of what belongs to the step itself."""


class NoWay(RequestError):
    """There is nothing there; the text says why."""

    id = 40


class Destination(NamedTuple):
    """A place to travel to, and why the run will have stopped there."""

    place: Place
    reason: str


class Traveller:
    """Finds destinations for a stop. On the model thread, since it runs steps again."""

    def __init__(self, stepper: Stepper, stop: Stop, check_cancelled: Callable[[], None]) -> None:
        self._stepper, self._stop, self._check_cancelled = stepper, stop, check_cancelled
        self._traces: dict[int, list[Event]] = {}

    def back(self) -> Destination:
        """The place before this one at its depth; from a step, the step before."""
        place = self._stop.place
        if place.path in (STEP, END):
            return Destination(self._previous_step(), "step")
        trace = self.trace(place.step)
        here = self._here(trace)
        parent = trace[here].parent
        beside = [e for e in trace[:here] if e.phase == "before" and e.parent == parent]
        return Destination(self._place(beside[-1] if beside else trace[parent]), "step")

    def back_in(self) -> Destination:
        """The very place before this one, at whatever depth."""
        place = self._stop.place
        if place.path == END or (place.path == STEP and place.step > 0):
            step = place.step if place.path == END else place.step - 1
            return Destination(self._place(self.trace(step)[-1], step), "step")
        if place.path == STEP:
            raise NoWay("this is the beginning of the call: nothing lies before it")
        trace = self.trace(place.step)
        return Destination(self._place(trace[self._here(trace) - 1]), "step")

    def back_out(self) -> Destination:
        """The beginning of the module around this one."""
        place = self._stop.place
        if place.path in (STEP, END):
            return Destination(self._previous_step(), "step")
        trace = self.trace(place.step)
        parent = trace[self._here(trace)].parent
        return Destination(self._place(trace[parent] if parent != STEP_LEVEL else trace[0]), "step")

    def last_hit(self) -> Destination:
        """The last place before this one with a breakpoint; the beginning of the call when there is none."""
        breakpoints = self._stepper.breakpoints
        if breakpoints.modules or breakpoints.has_pseudo:
            for place in self._places_before():
                if self._is_hit(place, breakpoints):
                    return Destination(place, HIT)
        if self._stop.place == self._beginning:
            raise NoWay("this is the beginning of the call: nothing lies before it")
        return Destination(self._beginning, "entry")

    def trace(self, step: int) -> list[Event]:
        """The places that a step passes, in order; the first is the step itself."""
        if step not in self._traces:
            self._check_cancelled()
            generation = self._stop.generation
            if generation.tape is None:
                raise NoWay("there is nothing to go back to here")
            probe = TraceProbe()
            selection = generation.tape.replay(step, probe)
            processors = selection.processors if selection else []
            self._traces = {step: _with_selection(generation, probe.events, processors)}
        return self._traces[step]

    @property
    def _beginning(self) -> Place:
        return Place(0, STEP) if self._stop.generation.is_own_loop else Place(0, "")

    def _previous_step(self) -> Place:
        place = self._stop.place
        if place.path == END:
            return Place(place.step, STEP) if self._stop.generation.is_own_loop else Place(place.step, "")
        if place.step == 0:
            raise NoWay("this is the first step of the call: going back ends here")
        return Place(place.step - 1, STEP)

    def _here(self, trace: list[Event]) -> int:
        place = self._stop.place
        for i, event in enumerate(trace):
            if event[:3] == (place.path, place.phase, place.occurrence):
                return i
        raise NoWay(f"{place} was not passed when the step ran again: the run does not repeat itself")

    def _place(self, event: Event, step: int | None = None) -> Place:
        step = self._stop.place.step if step is None else step
        return Place(step, event.path, event.phase, event.occurrence)

    def _places_before(self) -> Iterator[Place]:
        """Every place before this one, nearest first."""
        now = self._stop.place
        if now.path == END:
            yield from (self._place(e, now.step) for e in reversed(self.trace(now.step)))
        elif now.path != STEP:
            trace = self.trace(now.step)
            yield from (self._place(e) for e in reversed(trace[: self._here(trace)]))
        for step in range(now.step - 1, -1, -1):
            yield from (self._place(e, step) for e in reversed(self.trace(step)))

    def _is_hit(self, place: Place, breakpoints: BreakpointSet) -> bool:
        module = self._stepper.anatomy.modules.get(place.path)
        if module is not None:
            return bool(breakpoints.at_module(module, place.phase))
        return bool(breakpoints.at_pseudo(place.path, place.phase))


def _with_selection(generation: Generation, events: list[Event], processors: list[str]) -> list[Event]:
    """A trace of module calls with the step's own places around them."""
    if not generation.is_own_loop:
        return events
    moved = [e._replace(parent=e.parent if e.parent == STEP_LEVEL else e.parent + 1) for e in events]
    names = [LOGITS, *processors, SAMPLE]
    selection = [Event(name, phase, 0, STEP_LEVEL) for name in names for phase in ("before", "after")]
    return [Event(STEP, "before", 0, STEP_LEVEL), *moved, *selection]
