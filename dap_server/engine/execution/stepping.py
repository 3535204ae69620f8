"""The state machine of a debugged run: where it is, whether it stops there, what it does next.

Threads: the model thread calls `begin`, `step_begins`, `at` and the hooks; any other thread calls `resume`, `pause`,
`interrupt` and `set_breakpoints`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.regions import Regions
from dap_server.engine.execution.activations import Activation, Given, live_activations
from dap_server.engine.execution.branches import Turn
from dap_server.engine.execution.breakpoint_set import BreakpointSet
from dap_server.engine.execution.breakpoints import Breakpoint
from dap_server.engine.execution.edits.edits import Edits
from dap_server.engine.execution.flags import Flags
from dap_server.engine.execution.found_late import FoundLate
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.holders import Holders
from dap_server.engine.execution.hooks import ModuleHooks
from dap_server.engine.execution.judging import NOT_HIT, Candidate, Judging, Preparations, Prepared, Verdict
from dap_server.engine.execution.motions import BY_OPERATION, Plan, plan_from
from dap_server.engine.execution.motions import Motion as Motion
from dap_server.engine.execution.operations import Operation, OperationWatch
from dap_server.engine.execution.probes import aside
from dap_server.engine.execution.reasons import HIT, RAISED
from dap_server.engine.execution.sight import Sight
from dap_server.engine.execution.stage import Stage
from dap_server.engine.execution.stops import NOTHING as NOTHING
from dap_server.engine.execution.stops import Interruption as Interruption
from dap_server.engine.execution.stops import Rewind as Rewind
from dap_server.engine.execution.stops import Stop as Stop
from dap_server.modelmap.places import END, STEP, Phase, Place
from dap_server.protocol.errors import NotStopped


class Stepper:
    """Runs one model thread from stop to stop."""

    def __init__(self, anatomy: Anatomy, stopped: Callable[[Stop], None]) -> None:
        """`stopped` is called on the model thread when it is parked."""
        self.anatomy = anatomy
        self.regions = Regions(anatomy)
        self.stage = Stage()
        self.holders = Holders(anatomy.model)
        self.breakpoints = BreakpointSet()
        self.judging = Judging(self.breakpoints, anatomy)
        self.stop: Stop | None = None
        """The present stop, None while running."""
        self.generation = Generation()
        self.thread: int | None = None
        """In which a call is under way; None while there is none."""
        self.watching = False
        """Whether token selection has to report its places; read once per step by the decode loop."""
        self.is_replaying = False
        """Whether something runs beside the suspended run just now."""
        self.seconds_stopped = 0.0
        """How long the model thread has been parked, in all."""
        self.defers = next((p.is_cuda for p in anatomy.model.parameters()), False)
        """Whether conditions wait for the device where they are judged at once; on the CPU that costs nothing."""
        self.replays: Callable[[], None] = lambda: None
        """Called on the model thread before anything runs again."""
        self.turned: Callable[[Generation], None] = lambda _generation: None
        """Told that what was heard of the present step and later ones is no longer so: the run goes another way."""
        self.anew: Rewind | None = None
        """What leads to a place of a call that begins anew, until the run has come to a stop in it."""
        self._stopped = stopped
        self._is_released = False
        self._plan = Plan()
        self._hooks = ModuleHooks(self._module_begins, self._module_ends)
        self._operations = OperationWatch(self.regions, self._operation_begins, self._operation_ends)
        self._operations.is_deaf = lambda: self._hooks.thread is None
        self.late = FoundLate(
            anatomy, self.judging, self._module_raises,
            is_ours=lambda: self._hooks.thread == threading.get_ident(),
            plan=lambda: self._plan,
            changed=lambda: self._sight.arm(),
        )  # fmt: skip
        self._sight = Sight(
            anatomy, self._hooks, self._operations, self.late, self._module_passed, self._stop_after
        )  # fmt: skip
        self._prepared = Preparations(self.judging, lambda: self._hooks.thread is None)
        self._returned: tuple[str, Any] | None = None
        self.flags = Flags()
        self._is_in_call = False
        self._from = 0  # the step that a move to a place began at

    @property
    def is_stepping(self) -> bool:
        """Whether a step has begun, and has not come to its end."""
        return self._plan.motion not in (Motion.RUN, Motion.PAUSE, Motion.TO)

    @property
    def sees_nothing(self) -> bool:
        """Whether no place, module or operation could stop the run now, or has to be heard."""
        return not (self.watching or self.breakpoints.all or self.late.look or self._operations.is_on)

    # --- called by any thread but the model's

    def set_breakpoints(self, breakpoints: list[Breakpoint]) -> None:
        for breakpoint in breakpoints:
            breakpoint.is_deferred |= self.defers and breakpoint.can_be_deferred
        self.breakpoints.replace(breakpoints, self.anatomy)
        self._sight.arm()
        self._update_watching()

    def resume(self, motion: Motion, target: nn.Module | None = None) -> None:
        """Goes on from the present stop. Raises NotStopped."""
        plan, stop = Plan(), self.stage.is_parked and self.stop
        if stop:
            call = stop.activations[0].frame if stop.activations else None
            is_inside = stop.operation is not None or stop.python is not None
            plan = plan_from(stop.place, call, motion, target, is_inside)
        self.go_on(plan)

    def go_on(self, plan: Plan) -> None:
        """Goes on from the present stop by a plan, which counts within the call that stands. Raises NotStopped."""
        stop = self.stage.is_parked and self.stop
        if stop and stop.generation is self.generation:
            self._plan = plan
        self.stage.resume()

    def travel(self, place: Place, reason: str, ordinal: int = 0) -> None:
        """Goes to a place of this call, back or forth, past all breakpoints. Raises NotStopped.

        `ordinal`: of the operation in its step, when the place is one.
        """
        stop = self.stop
        self.generation.require_again()
        if stop is not None and place.step > stop.place.step:
            self._plan = Plan(Motion.TO, place=place, reason=reason)
        else:
            self.flags.interruption = Rewind(place, reason, ordinal)
        self.stage.resume()

    def settle(self, edits: Edits) -> Turn | None:
        """How the run goes on with these edits in its branch; None if they change nothing that has run: it has them.

        Raises NotStopped; CannotEdit where another loop than ours decodes, and tells nothing of what it is about.
        """
        if self.stop is None or not self.stage.is_parked:
            raise NotStopped
        generation = self.stop.generation
        generation.require_again(edits)
        return generation.branches.settle(edits, self.stop.place, generation.is_own_loop)

    def turn(self, turn: Turn, place: Place | None = None, about: str = "") -> None:
        """Goes another way from a step on, and stops at a place, as `Stop.turned` has it. Raises NotStopped."""
        if self.stop is None:
            raise NotStopped
        self.flags.interruption = self.stop.turned(turn, place, about)
        self.stage.resume()

    def pause(self, reason: str = "pause") -> None:
        """Stops at the next place, whatever it is. Also before a run begins. Nothing happens at a stop."""
        if not self.stage.is_parked:
            self._plan = Plan(Motion.PAUSE, reason=reason)
            self._hooks.watch_all(True)
            self.watching = True

    def cancel(self) -> None:
        """Ends a look at the past; a move that is under way stops where it is."""
        if self.stage.is_working:
            self.stage.cancel()
        else:
            self.pause()

    def interrupt(self, interruption: Interruption) -> None:
        """Raises in the model thread: at once when it is stopped, else at its next place."""
        self.flags.interruption = interruption
        try:
            self.stage.resume()
        except NotStopped:
            self.watching = True
            self._hooks.watch_all(True)

    def release(self) -> None:
        """Lets the run go and never stops it again: no breakpoint, no hook."""
        self._is_released = True
        self.generation.branches.drop_edits()
        self._plan = Plan()
        self.set_breakpoints([])
        self._hooks.watch_all(False)
        if self.stage.is_parked:
            self.stage.resume()

    # --- called by the model thread

    def begin(self, generation: Generation) -> None:
        """A `generate` call begins on this thread."""
        self.generation = generation
        self.thread = self._hooks.thread = threading.get_ident()
        self.flags.occurrences.clear()
        self._is_in_call = False
        self.late.begin(generation)
        self._sight.arm()
        self._prepared.clear()
        self._sight.step_begins(self._plan)
        if self.anew is not None:
            self.go_to(self.anew)

    def go_to(self, rewind: Rewind) -> None:
        """The owner of the call has unwound it, and runs on from the start of a step: stops at the place."""
        self.replays()
        self._sight.forget_calls()
        self._returned = None
        self.flags.occurrences.clear()
        self._prepared.clear()
        self.late.go_back_to(self.generation.step, rewind)
        if rewind.is_second_look:
            self._plan = self._plan.in_second_look(rewind.place.step)
        elif self._plan.motion is not Motion.PAUSE:  # which somebody has asked for meanwhile
            to, ordinal, reason, about = rewind.place, rewind.ordinal, rewind.reason, rewind.about
            self._plan = Plan(Motion.TO, None, None, to, ordinal, is_again=True, reason=reason, about=about)
        self._update_watching()
        self._sight.look_for(self._plan)
        self._sight.step_begins(self._plan)

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Nothing that runs on this thread meanwhile is seen, or stops: a replay beside the suspended run."""
        self.replays()
        outer, self.is_replaying = self.is_replaying, True
        thread, self._hooks.thread = self._hooks.thread, None
        handle = register_module_forward_pre_hook(lambda *_: self._replay_goes_on(thread))
        try:
            with aside():
                yield
        finally:
            handle.remove()
            self._hooks.thread, self.is_replaying = thread, outer

    def _replay_goes_on(self, thread: int | None) -> None:
        if threading.get_ident() == thread:
            self.stage.progress.goes_on()
            if self.stage.is_working:
                self.stage.check_cancelled()
            else:
                self.flags.raise_interruption()

    def end(self) -> None:
        """The run is over, in whatever way: no hook of stepping stays behind, and no cache."""
        self.thread = None
        self.generation.ends()
        self.stage.progress.ends()
        self._sight.forget_calls()
        self._hooks.watch_all(False)
        self._plan, self.flags = Plan(), Flags()
        self._returned = self.anew = None
        self._prepared.clear()
        self.breakpoints.call_ends()
        self._operations.switch(False)
        self.late.end()
        self._sight.arm()
        self._update_watching()
        self._hooks.thread = None

    def step_begins(self) -> None:
        """A step of the decode loop begins."""
        self.late.goes_on_to(self.generation.step)
        self.flags.occurrences.clear()
        self._prepared.clear()
        self._sight.step_begins(self._plan)
        if self.watching:
            self.at(STEP, "before")

    def call_begins(self) -> None:
        """A loop that tells no steps calls the whole model, which is one. Said by whichever hook sees it first."""
        if not self._is_in_call and self._hooks.thread is not None:
            self._is_in_call = True
            if self.generation.calls:  # what ran before the first call belongs to its step
                self.generation.step += 1
                self.late.goes_on_to(self.generation.step)
                self.flags.occurrences.clear()
                self._sight.step_begins(self._plan)
            self.generation.calls += 1

    def call_ends(self) -> None:
        """That call is over, or will not end."""
        if self._hooks.thread is not None:
            if self._is_in_call and (flag := self.late.flag()) is not None:
                self.late.heard(self.generation.step, bool(flag))
            self._is_in_call = False

    def _module_raises(self, module: nn.Module, call: FrameType, forward: FrameType | None, error: Exception) -> None:
        path = self.anatomy.path_of(module)
        if path is None or self._hooks.thread is None:
            return
        place = Place(self.generation.step, path, "before", self.flags.occurrences.get(path, 0))
        verdict = self._judged(self.breakpoints.errors, place, False, call, error=error)
        if verdict.hits:
            innermost, *others = live_activations(call)
            self._stop(place, verdict, [innermost._replace(forward=forward), *others], error=error)

    def at(self, name: str, phase: Phase = "before") -> None:
        """The decode loop is at a pseudo-module."""
        self.flags.raise_interruption()
        place = Place(self.generation.step, name, phase, self.flags.occurrence_at(name, phase))
        is_there = self._leads_to(place)
        verdict = self._judged(self.late.places.at_pseudo(name, phase), place, is_there)
        if is_there or verdict.hits or (phase == "before" and self._plan.ends_at(name, place.step)):
            self._stop(place, verdict, [])

    def at_end(self) -> None:
        """The last token is chosen, and the run should stop once more."""
        ran_free = self._plan.motion in (Motion.RUN, Motion.PAUSE) or self._plan.reason == HIT
        self._plan = Plan(reason="pause") if ran_free else Plan(reason=self._plan.reason, about=self._plan.about)
        self._stop(Place(self.generation.step, END), NOT_HIT, [])

    def _module_begins(self, module: nn.Module, call: FrameType, given: Given | None) -> None:
        """A hook. What it touches has left the processor's caches at every call: each function costs microseconds."""
        if self.flags.interruption is not None:
            self.flags.raise_interruption()
        path, generation = self.anatomy.paths.get(module), self.generation
        if path is None:
            return
        if not path and not generation.is_own_loop and generation.tape is not None:
            self.call_begins()
        occurrence = self.flags.occurrences[path] = self.flags.occurrences.get(path, -1) + 1
        if self._operations.is_on:
            self._operations.where.begins(path, call)
        ids, is_free = self.late.places.at_module(module, "before"), self._plan.is_free
        if ids or not is_free:
            place = Place(generation.step, path, "before", occurrence)
            is_there = not is_free and self._leads_to(place)
            verdict = self._judged(ids, place, is_there, call, given=given)
            if is_there or verdict.hits or (not is_free and self._plan.ends_before(module, call, generation)):
                self._stop(place, verdict, live_activations(call))
        if self.breakpoints.everywhere.prepared:
            self._prepared.begins(path, module, call)

    def _module_ends(self, module: nn.Module, call: FrameType, output: Any) -> None:
        self.flags.raise_interruption()
        path = self.anatomy.paths.get(module)
        if path is None:
            return
        place, is_free = self._place_after(path), self._plan.is_free
        is_there = not is_free and self._leads_to(place)
        ids, prepared = self.late.places.at_module(module, "after"), self._prepared.ends(call)
        verdict = self._judged(ids, place, is_there, call, output, prepared=prepared)
        if is_there or verdict.hits or (not is_free and self._plan.ends_after(call)):
            self.late.alarms.ends(module, output)
            self._stop(place, verdict, live_activations(call), output)

    def _place_after(self, path: str) -> Place:
        return Place(self.generation.step, path, "after", self.flags.occurrences.get(path, 0))

    def _stop_after(self, module: nn.Module, call: FrameType, output: Any) -> None:
        """A call returns whose end is waited for."""
        if (path := self.anatomy.path_of(module)) is not None:
            self._stop(self._place_after(path), NOT_HIT, live_activations(call), output)

    def _module_passed(self, path: str, output: Any) -> None:
        self._returned = (path, output)

    def _judged(
        self,
        ids: list[int],
        place: Place,
        is_there: bool,
        call: FrameType | None = None,
        output: Any = NOTHING,
        operation: Operation | None = None,
        prepared: Prepared | None = None,
        error: Exception | None = None,
        given: Given | None = None,
    ) -> Verdict:
        """What breakpoints at a place come to. A move stops where it leads; `is_there` says that this is here."""
        if not ids:
            return NOT_HIT
        plan = self._plan
        is_on_the_way = not plan.is_free and plan.motion is Motion.TO and not (is_there and plan.reason == HIT)
        candidate = Candidate(place, self.generation, call, output, operation, prepared, error, given)
        thread, self._hooks.thread = self._hooks.thread, None  # what conditions run is not the model's
        try:
            late, others, is_again = self.late.passes(ids, place, operation)
            verdict = self.judging.passed(late, candidate, is_again=False, is_on_the_way=False) if late else NOT_HIT
            if is_again and (verdict.hits or not is_there):
                self.judging.passed(others, candidate, is_again=True, is_on_the_way=True)  # which counts them
            elif not verdict.hits:
                verdict = self.judging.passed(others, candidate, plan.is_again, is_on_the_way)
            return verdict
        finally:
            self._hooks.thread = thread

    def _operation_begins(self, operation: Operation) -> None:
        self.flags.raise_interruption()
        self._at_operation(operation, "before", self._plan.ends_at_operation(operation, self.generation.step))

    def _operation_ends(self, operation: Operation) -> None:
        if self._plan.motion in BY_OPERATION:
            self._returned = (operation.full_name, operation.result)
        self._at_operation(operation, "after", ends=False)

    def _at_operation(self, operation: Operation, phase: Phase, ends: bool) -> None:
        ids = self.late.places.at_operation(operation.name, operation.full_name, operation.site, phase)
        plan, path = self._plan, operation.site.path
        if plan.place is not None:
            is_there = (plan.place.step, plan.ordinal) == (self.generation.step, operation.site.ordinal)
            ends = is_there and plan.ordinal > 0 and plan.place.phase == phase
        if not ids and not ends:
            return
        occurrence = self.flags.occurrences.get(path, 0)
        place = Place(self.generation.step, path, phase, occurrence, operation.full_name)
        with self._operations.set_aside():
            verdict = self._judged(ids, place, ends, operation=operation)
        if verdict.hits or ends:
            self._stop(place, verdict, live_activations(operation.caller), operation=operation)

    def _leads_to(self, place: Place) -> bool:
        """Whether a move leads to this place, or led to one that its step did not pass."""
        target = self._plan.place
        if target is None or self._plan.motion is not Motion.TO:
            return False
        self.stage.progress.reached(place.step - self._from, target.step - self._from)
        return place == target or place.step > target.step

    def _stop(
        self,
        place: Place,
        verdict: Verdict,
        activations: list[Activation],
        output: Any = NOTHING,
        operation: Operation | None = None,
        error: Exception | None = None,
    ) -> None:
        if self._is_released:
            return
        hits, failure = verdict.hits, verdict.failure
        if failure is None and self.late.must_look_before(place, hits):
            back, ordinal = HIT if hits else self._plan.reason, operation.site.ordinal if operation else 0
            self._plan = Plan(Motion.TO, place=place, ordinal=ordinal, is_again=True, reason=back)
            self.late.look_again(place.step)
        reason = RAISED if failure else self.breakpoints.reason_of(hits) if hits else self._plan.reason
        self.stage.progress.ends()
        self.stand(Stop(
            place, reason, hits, activations, self.generation, output, self._returned, operation,
            verdict.sequence, failure, verdict.anomaly, error, self._plan.about, threading.get_ident(),
        ))  # fmt: skip

    def stand(self, stop: Stop) -> None:
        """Parks this thread, in which the call is under way, until somebody goes on from the stop.

        From a line of Python nothing can be unwound: an interruption comes at the next place.
        """
        self._sight.stops()
        self._plan, self._returned, self.anew = Plan(), None, None
        parked_at = time.monotonic()
        with self._operations.set_aside(), aside():
            self.stage.park(lambda: self._parked(stop))
        self.seconds_stopped += time.monotonic() - parked_at
        self.stop = None if self.stop is stop else self.stop
        self._move_begins()
        if stop.python is None:
            self.flags.raise_interruption()
        elif self.flags.interruption is not None:
            self._plan = Plan(Motion.IN)
        self._update_watching()
        self._sight.goes_on(self._plan, stop)

    def stand_outside(self, stop: Stop) -> None:
        """Parks a thread in which no call of this model is under way; one in another thread goes on unnoticed."""
        with aside():
            self.stage.park(lambda: self._parked(stop))
        self.stop = None if self.stop is stop else self.stop  # another thread may have come to its own already

    def _parked(self, stop: Stop) -> None:
        """A thread is parked. An interruption that came on its way here was told that it was not."""
        self.stop = stop
        if self.flags.interruption is not None or self._is_released:
            with contextlib.suppress(NotStopped):
                self.stage.resume()
        else:
            self._stopped(stop)

    def _move_begins(self) -> None:
        """Tells how far it is, if the run is on its way to a place."""
        rewind = self.flags.interruption
        place = rewind.place if isinstance(rewind, Rewind) else self._plan.place
        if place is not None:
            self._from = 0 if isinstance(rewind, Rewind) else self.generation.step
            self.stage.progress.begins(f"Going to {place}")

    def _update_watching(self) -> None:
        self.watching = self._plan.motion is not Motion.RUN or self.late.places.has_pseudo
