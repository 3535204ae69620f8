"""Where going back leads: the place before this one, the last hit, the beginning of a module.

All of it is found in traces: the lists of places that steps pass, made by running them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dap_server.engine.execution.breakpoints import BreakpointSet
from dap_server.engine.execution.probes import STEP_LEVEL, Event, TraceProbe
from dap_server.engine.execution.stepping import HIT, Stepper, Stop
from dap_server.modelmap.places import END, STEP, Place
from dap_server.protocol.errors import RequestError

BEGINNING = "this is the beginning of the call: nothing lies before it"


class NoWay(RequestError):
    """There is nothing there; the text says why."""

    id = 40


class Destination(NamedTuple):
    """A place to travel to, and why the run will have stopped there."""

    place: Place
    reason: str


class Traveller:
    """Finds destinations for a stop. On the model thread, since it runs steps again."""

    def __init__(self, stepper: Stepper, stop: Stop) -> None:
        self._stepper, self._stop = stepper, stop
        self._traces: dict[int, list[Event]] = {}
        self._suspended_at: int | None = None  # where the trace of the present step has the suspended call

    def back(self) -> Destination:
        """The place before this one at its depth; from a step, the step before."""
        trace, here = self._within_step()
        if here == 0:
            return Destination(self._previous_step(), "step")
        parent = trace[here].parent
        beside = [e for e in trace[:here] if e.phase == "before" and e.parent == parent]
        return Destination(self._place(beside[-1] if beside else trace[parent]), "step")

    def back_in(self) -> Destination:
        """The very place before this one, at whatever depth."""
        place = self._stop.place
        if place.path == END:
            return Destination(self._place(self.trace(place.step)[-1]), "step")
        trace = self.trace(place.step) if place.path != STEP else []
        here = self._here(trace) if trace else 0
        if here > 0:
            return Destination(self._place(trace[here - 1]), "step")
        if place.step == 0:
            raise NoWay(BEGINNING)
        return Destination(self._place(self.trace(place.step - 1)[-1], place.step - 1), "step")

    def back_out(self) -> Destination:
        """The beginning of the module around this one."""
        trace, here = self._within_step()
        if here == 0:
            return Destination(self._previous_step(), "step")
        parent = trace[here].parent
        return Destination(self._place(trace[parent] if parent != STEP_LEVEL else trace[0]), "step")

    def _within_step(self) -> tuple[list[Event], int]:
        """The trace of the present step, and where in it the stop is; 0 at its beginning and at the end of the run."""
        place = self._stop.place
        if place.path in (STEP, END):
            return [], 0
        trace = self.trace(place.step)
        return trace, self._here(trace)

    def beginning_of(self, path: str) -> Destination:
        """The beginning of a running module call."""
        trace = self.trace(self._stop.place.step)
        event = trace[self._here(trace)]
        while event.path != path and event.parent != STEP_LEVEL:
            event = trace[event.parent]
        return Destination(Place(self._stop.place.step, path, "before", event.occurrence), "restart")

    def last_hit(self) -> Destination:
        """The last place before this one with a breakpoint; the beginning of the call when there is none."""
        breakpoints = self._stepper.breakpoints
        if breakpoints.modules or breakpoints.has_pseudo:
            for place in self._places_before():
                if self._is_hit(place, breakpoints):
                    return Destination(place, HIT)
        beginning = self._start_of(0)
        if self._stop.place == beginning:
            raise NoWay(BEGINNING)
        return Destination(beginning, "entry")

    def trace(self, step: int) -> list[Event]:
        """The places that a step passes, in order; the first is the step itself."""
        if step not in self._traces:
            self._stepper.stage.check_cancelled()
            generation = self._stop.generation
            if generation.tape is None:
                raise NoWay("there is nothing to go back to here")
            is_present = step == self._stop.place.step and self._stop.activations
            probe = TraceProbe(self._stop.activations[0] if is_present else None)
            generation.tape.replay(step, probe)
            self._traces, self._suspended_at = {step: probe.events}, probe.found
        return self._traces[step]

    def _start_of(self, step: int) -> Place:
        """Its first place. Another loop than ours may run a part of the model, an encoder, before the whole."""
        if self._stop.generation.is_own_loop:
            return Place(step, STEP)
        return Place(step, "") if step else self._place(self.trace(0)[0], 0)

    def _previous_step(self) -> Place:
        place = self._stop.place
        if place.path == END:
            return self._start_of(place.step)
        if place.step == 0:
            raise NoWay(BEGINNING)
        return self._start_of(place.step - 1)

    def _here(self, trace: list[Event]) -> int:
        """The index of this place. What is called several times in a step is told apart by what it is given."""
        place = self._stop.place
        passed = {event.occurrence: i for i, event in enumerate(trace) if event[:2] == (place.path, place.phase)}
        occurrence = place.occurrence if self._suspended_at is None else trace[self._suspended_at].occurrence
        if len(passed) == 1 or occurrence in passed:
            return passed.get(occurrence, min(passed.values()))
        raise NoWay(f"{place} was not passed when the step ran again: the run does not repeat itself")

    def _place(self, event: Event, step: int | None = None) -> Place:
        step = self._stop.place.step if step is None else step
        return Place(step, event.path, event.phase, event.occurrence)

    def _places_before(self) -> Iterator[Place]:
        """Every place before this one, nearest first."""
        now, progress = self._stop.place, self._stepper.stage.progress
        if now.path != STEP:
            trace = self.trace(now.step)
            passed = trace if now.path == END else trace[: self._here(trace)]
            yield from (self._place(e) for e in reversed(passed))
        for step in range(now.step - 1, -1, -1):
            with progress.part(now.step - 1 - step, now.step):
                trace = self.trace(step)
                progress.reached(1, 1)
            yield from (self._place(e, step) for e in reversed(trace))

    def _is_hit(self, place: Place, breakpoints: BreakpointSet) -> bool:
        module = self._stepper.anatomy.modules.get(place.path)
        if module is not None:
            return bool(breakpoints.at_module(module, place.phase))
        return bool(breakpoints.at_pseudo(place.path, place.phase))
