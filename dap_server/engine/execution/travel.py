"""Where going back leads: the place before this one, the last hit, the beginning of a module.

All of it is found in traces: the lists of places that steps pass, made by running them again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dap_server.engine.execution.activations import Activation
from dap_server.engine.execution.breakpoint_set import Places
from dap_server.engine.execution.hindsight import Hindsight
from dap_server.engine.execution.operation_trace import OperationTrace, Traced
from dap_server.engine.execution.probes import STEP_LEVEL, Event, TraceProbe
from dap_server.engine.execution.reasons import HIT
from dap_server.engine.execution.stepping import Stepper, Stop
from dap_server.modelmap.places import END, STEP, Phase, Place
from dap_server.protocol.errors import RequestError

PHASES: tuple[Phase, Phase] = ("before", "after")
BEGINNING = "this is the beginning of the call: nothing lies before it"


class NoWay(RequestError):
    """There is nothing there; the text says why."""

    id = 40


class Destination(NamedTuple):
    """A place to travel to, and why the run will have stopped there."""

    place: Place
    reason: str
    ordinal: int = 0
    """Of the operation in its step, when the place is one."""


class _Position(NamedTuple):
    """Where the stop is in the trace of its step.

    Attributes:
        passed: how many places lie before it; 0 at the beginning of the step.
        parent: index of the beginning of the module call around it.
    """

    trace: list[Event]
    passed: int
    parent: int


class Traveller:
    """Finds destinations for a stop. On the model thread, since it runs steps again."""

    def __init__(self, stepper: Stepper, stop: Stop) -> None:
        self._stepper, self._stop = stepper, stop
        self._traces: dict[int, list[Event]] = {}
        self._suspended_at: int | None = None  # where the trace of the present step has the suspended call
        self._operations: dict[int, OperationTrace] = {}
        self._seeks = False  # whether it is hits that steps run again for
        self._hindsight: dict[int, Hindsight] = {}

    def back(self) -> Destination:
        """The place before this one at its depth; from a step, the step before."""
        trace, passed, parent = self._position()
        if passed == 0 or self._stop.place.path == END:
            return Destination(self._previous_step(), "step")
        beside = [e for e in trace[:passed] if e.phase == "before" and e.parent == parent]
        return Destination(self._place(beside[-1] if beside else trace[parent]), "step")

    def back_in(self) -> Destination:
        """The very place before this one, at whatever depth."""
        place = self._stop.place
        if place.path == END:
            return Destination(self._place(self.trace(place.step)[-1]), "step")
        trace, passed, _ = self._position()
        if passed > 0:
            return Destination(self._place(trace[passed - 1]), "step")
        if place.step == 0:
            raise NoWay(BEGINNING)
        return Destination(self._place(self.trace(place.step - 1)[-1], place.step - 1), "step")

    def back_by_operation(self) -> Destination:
        """The operation before this place; without one in this step its beginning, and from there the step before."""
        step = self._stop.place.step
        if self._stop.place.path != STEP:
            before = [traced for traced, phase in self._operations_before() if phase == "before"]
            if not before:
                return Destination(self._start_of(step), "step")
            return self._at_operation(before[-1], step, "before", "step")
        if step == 0:
            raise NoWay(BEGINNING)
        return self._at_operation(self.operations(step - 1).operations[-1], step - 1, "before", "step")

    def back_out(self) -> Destination:
        """The beginning of the module around this one."""
        trace, passed, parent = self._position()
        if passed == 0 or self._stop.place.path == END:
            return Destination(self._previous_step(), "step")
        return Destination(self._place(trace[parent] if parent != STEP_LEVEL else trace[0]), "step")

    def beginning_of(self, path: str) -> Destination:
        """The beginning of a running module call."""
        trace, passed, parent = self._position()
        event = trace[parent if self._stop.operation is not None else passed]
        while event.path != path and event.parent != STEP_LEVEL:
            event = trace[event.parent]
        return Destination(Place(self._stop.place.step, path, "before", event.occurrence), "restart")

    def last_hit(self) -> Destination:
        """The last place before this one with a breakpoint; the beginning of the call when there is none."""
        self._seeks = True
        for hits in self._hits_before():
            if hits:
                return hits[-1]
        beginning = self._start_of(0)
        if self._stop.place == beginning:
            raise NoWay(BEGINNING)
        return Destination(beginning, "entry")

    def trace(self, step: int) -> list[Event]:
        """The places that a step passes, in order; the first is the step itself."""
        if step not in self._traces:
            self._replay(step, TraceProbe(self._suspended_call(step)))
        return self._traces[step]

    def operations(self, step: int) -> OperationTrace:
        """The operations of a step, beside its places."""
        if step not in self._operations:
            is_present = step == self._stop.place.step
            trace = OperationTrace(
                self._suspended_call(step),
                regions=self._stepper.regions,
                suspended_operation=self._stop.operation if is_present else None,
            )
            self._replay(step, trace)
            self._operations = {step: trace}
        return self._operations[step]

    def _replay(self, step: int, probe: TraceProbe) -> None:
        self._stepper.stage.check_cancelled()
        tape = self._stop.generation.tape
        if tape is None:
            raise NoWay("there is nothing to go back to here")
        hindsight = self._hindsight[step] = Hindsight(self._stepper.judging, self._places(step), step, probe)
        if self._judges(step):
            probe.witness = hindsight
            if isinstance(probe, OperationTrace):
                probe.passed = hindsight.operation
        try:
            probe.run(tape, step)
        finally:
            hindsight.close()
        self._traces, self._suspended_at = {step: probe.events}, probe.found

    def _places(self, step: int) -> Places:
        """Of the breakpoints that may have been hit in a step: a flag has told of those that it left for later."""
        breakpoints, alarms = self._stepper.breakpoints, self._stepper.late.alarms
        return breakpoints.at_once if step in alarms.quiet else breakpoints.everywhere

    def _judges(self, step: int) -> bool:
        """Whether conditions are judged as a step runs again."""
        return self._seeks and not self._places(step).are_all_plain

    def _suspended_call(self, step: int) -> Activation | None:
        is_present = step == self._stop.place.step and self._stop.activations
        return self._stop.activations[0] if is_present else None

    def _position(self) -> _Position:
        place = self._stop.place
        if place.path == STEP:
            return _Position([], 0, STEP_LEVEL)
        if self._stop.operation is not None:
            suspended = self._suspended_operation()
            return _Position(self.operations(place.step).events, suspended.events, suspended.parent)
        trace = self.trace(place.step)
        here = len(trace) if place.path == END else self._here(trace)
        return _Position(trace, here, trace[here].parent if here < len(trace) else STEP_LEVEL)

    def _suspended_operation(self) -> Traced:
        """The operation of the stop, among those of its step."""
        trace, operation = self.operations(self._stop.place.step), self._stop.operation
        assert operation is not None
        if trace.found_operation is not None:
            return trace.operations[trace.found_operation - 1]
        alike = [
            t for t in trace.operations if t.site.path == operation.site.path and t.full_name == operation.full_name
        ]
        if not alike:
            raise NoWay(f"{self._stop.place} was not passed when the step ran again: the run does not repeat itself")
        return next((t for t in alike if t.site.address == operation.site.address), alike[0])

    def _operations_before(self) -> list[tuple[Traced, Phase]]:
        """Before and after every operation of this step that lie before the stop."""
        place, operations = self._stop.place, self.operations(self._stop.place.step).operations
        if self._stop.operation is None:
            passed = self._position().passed
            return [(t, phase) for t in operations if t.events <= passed for phase in PHASES]
        ordinal = self._suspended_operation().site.ordinal
        before = [(t, phase) for t in operations[: ordinal - 1] for phase in PHASES]
        return before if place.phase == "before" else [*before, (operations[ordinal - 1], "before")]

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

    def _at_operation(self, traced: Traced, step: int, phase: Phase, reason: str) -> Destination:
        place = Place(step, traced.site.path, phase, traced.occurrence, traced.full_name)
        return Destination(place, reason, traced.site.ordinal)

    def _hits_before(self) -> Iterator[list[Destination]]:
        """The places with a breakpoint before this one, in order, step by step, the nearest step first."""
        now, progress = self._stop.place, self._stepper.stage.progress
        if now.path != STEP and not self._places(now.step).are_none:
            operations = self._operations_before() if self._places(now.step).has_operations else []
            yield self._hits(now.step, self._position().passed, operations)
        for step in range(now.step - 1, -1, -1):
            with progress.part(now.step - 1 - step, now.step):
                hits = self._hits_in(step)
                progress.reached(1, 1)
            yield hits

    def _hits_in(self, step: int) -> list[Destination]:
        """Of a whole step."""
        operations: list[tuple[Traced, Phase]] = []
        if self._places(step).are_none:
            return []
        if self._places(step).has_operations:
            operations = [(traced, phase) for traced in self.operations(step).operations for phase in PHASES]
        return self._hits(step, len(self.trace(step)), operations)

    def _hits(self, step: int, passed: int, operations: list[tuple[Traced, Phase]]) -> list[Destination]:
        """Of the first places of a step and of the operations between them."""
        trace, places = self.trace(step), self._places(step)
        found: list[tuple[int, Destination]] = []
        hindsight = self._hindsight.get(step) if self._judges(step) else None
        for i, event in enumerate(trace[:passed]):
            place = self._place(event, step)
            if self._is_hit(place, places) if hindsight is None else i in hindsight.events:
                found.append((2 * i + 1, Destination(place, HIT)))
        for traced, phase in operations:
            ids = places.at_operation(traced.name, traced.full_name, traced.site, phase)
            if ids if hindsight is None else (traced.site.ordinal, phase) in hindsight.operations:
                found.append((2 * traced.events, self._at_operation(traced, step, phase, HIT)))
        return [destination for _, destination in sorted(found, key=lambda item: item[0])]

    def _is_hit(self, place: Place, places: Places) -> bool:
        module = self._stepper.anatomy.modules.get(place.path)
        if module is not None:
            return bool(places.at_module(module, place.phase))
        return bool(places.at_pseudo(place.path, place.phase))
