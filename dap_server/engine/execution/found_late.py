"""What is found out late: a step in which something may have happened runs again, and stops exactly where it did.

A breakpoint that is deferred is not judged where the run passes it. A flag of the step tells that one may have been hit
(`Alarms`), or an exception does. The step is then unwound, before anybody has seen its token, and looked at a second
time with everything judged at once.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

from torch import Tensor, nn

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.activations import call_frame
from dap_server.engine.execution.alarms import Alarms
from dap_server.engine.execution.breakpoint_set import Places
from dap_server.engine.execution.breakpoints import Breakpoint
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.given import CannotRunAgain
from dap_server.engine.execution.judging import Candidate, Judging
from dap_server.engine.execution.lost_devices import is_lost
from dap_server.engine.execution.motions import Motion, Plan
from dap_server.engine.execution.operations import Operation
from dap_server.engine.execution.raising import ErrorWatch, Origin, Raises, is_of_forward, origin_of
from dap_server.engine.execution.stops import Rewind
from dap_server.modelmap.places import SAMPLE, STEP, Place


@dataclass
class _SecondLook:
    """A step of which everything is judged at once.

    Attributes:
        is_silent: whether the run has been here before, so that only what was found out late stops it.
        error: what was raised in that step, if it runs again for that.
    """

    step: int
    is_silent: bool = True
    error: Origin | None = None


class FoundLate:
    """Which breakpoints are judged where, of the run of one stepper."""

    def __init__(
        self,
        anatomy: Anatomy,
        judging: Judging,
        raises: Raises,
        is_ours: Callable[[], bool],
        plan: Callable[[], Plan],
        changed: Callable[[], None],
    ) -> None:
        """The run of one stepper.

        Args:
            is_ours: whether what runs now, on this thread, belongs to it.
            plan: how it goes on just now.
            changed: is told when from here on other breakpoints are judged.
        """
        self.alarms = Alarms(anatomy, self._flag, is_ours)
        self.not_found_again: Callable[[int, bool], None] = lambda _step, _error: None
        """Is told of a step that was run again, whether for an exception, and in which nothing was found."""
        self._anatomy, self._judging, self._breakpoints = anatomy, judging, judging.breakpoints
        self._plan, self._changed = plan, changed
        self._errors = ErrorWatch(raises, is_ours)
        self._passed: set[tuple[Place, int]] = set()  # places of this step with breakpoints that were judged
        self._passes: Exception | None = None  # it has been looked for, and ends the call
        self.look: _SecondLook | None = None
        """At a step that runs again, in which everything is judged at once."""
        self._generation: Generation | None = None

    def begin(self, generation: Generation) -> None:
        """A call begins. Where nobody reads flags, everything is judged at once."""
        self._tell_if_nothing_was_found()
        self.look, self._generation, self._passes = None, generation, None
        self._passed.clear()
        self.alarms.forget()
        self.alarms.quiet.clear()
        self.alarms.hits.forget()
        self._breakpoints.count_costs()
        self.arm()
        self.alarms.hears_whole_step = True

    def end(self) -> None:
        self._tell_if_nothing_was_found()
        if self._breakpoints.counts_on:
            self.alarms.hits.settle(self._breakpoints.deferred)
        self.look = self._generation = self._passes = None

    def arm(self) -> None:
        """Listens for the breakpoints that are deferred."""
        look = self.look
        self.alarms.arm(self._breakpoints.deferred if self._generation is not None else [])
        self.alarms.names_suspects(look is not None and look.is_silent and look.error is None)
        self._errors.switch(None if look is None else look.error)

    @property
    def judges_all(self) -> bool:
        """Whether what could be found out late is judged at once: nobody reads flags, or it is a second look."""
        generation, look = self._generation, self.look
        if generation is None:
            return False
        return not generation.has_flags or (look is not None and look.step == generation.step)

    @property
    def places(self) -> Places:
        """Of the breakpoints that are judged at once now."""
        breakpoints = self._breakpoints  # asked at every place: most often there is nothing to choose from
        if breakpoints.at_once is breakpoints.everywhere or self.judges_all:
            return breakpoints.everywhere
        return breakpoints.at_once

    @property
    def listens(self) -> bool:
        """Whether what is not judged at once is listened for. A move goes past all breakpoints."""
        return self.alarms.is_armed and not self.judges_all and self._plan().motion is not Motion.TO

    def chosen(self) -> None:
        """Tokens were drawn, and nobody has read them yet."""
        generation = self._generation
        if generation is None or not self.listens:
            return
        for breakpoint in self._breakpoints.deferred:
            if breakpoint.pseudo == SAMPLE and breakpoint.is_timely:
                candidate = Candidate(Place(generation.step, SAMPLE, breakpoint.phase), generation)
                self.alarms.note(breakpoint, functools.partial(self._judging.flag, breakpoint, candidate))

    def flag(self) -> Tensor | None:
        """At the end of a step: whether it may have hit what is not judged at once.

        A boolean on the device; None: nobody asks, or it is lost.
        """
        if self._generation is not None and self.listens and not is_lost(sys.exception(), self._anatomy.model):
            return self.alarms.flag(self._generation.device)
        self.alarms.forget()
        return None

    def heard(self, step: int, is_hit: bool) -> None:
        """The flag of a whole step has been read. Raises Rewind if it is set."""
        if is_hit and self._can_look_again:
            self.alarms.quiet.discard(step)
            self._look_again(_SecondLook(step))
        if self.alarms.hears_whole_step:
            self.alarms.quiet.add(step)

    def raised(self, step: int, error: Exception) -> None:
        """A step has raised. Raises Rewind if somebody wants to stop there, and has not yet.

        On a device that is lost nothing runs again: then it is told of here, by what its traceback has.
        """
        look, is_told = self.look, self._passes is error
        self._passes = error
        if is_told or not is_of_forward(error) or (look is not None and look.step == step and look.error is not None):
            return
        if self._generation is not None and is_lost(error, self._anatomy.model):
            self._generation.tape = None
            self._errors.tell(error)
        if not self._can_look_again:
            return
        if self._breakpoints.errors:
            self._look_again(_SecondLook(step, error=origin_of(error)))
        if (flag := self.flag()) is not None and bool(flag):  # which may be why
            self._look_again(_SecondLook(step))

    def must_look_before(self, place: Place, hits: list[int]) -> bool:
        """Whether something earlier in this step has to be told before the run stops at a place.

        From a stop at what was found out late on, the rest of its step is judged at once.
        """
        if self.look is not None and self.look.step == place.step:
            self.look.is_silent = False
        elif any(self._is_late(id) for id in hits):
            self.look = _SecondLook(place.step, is_silent=False)
        elif self._generation is not None and self.listens and self._can_look_again:
            return bool(self.alarms.flag(self._generation.device))
        return False

    @property
    def _can_look_again(self) -> bool:
        """Whether a step can run again: what its call was given is still there, and so is the device."""
        if self._generation is None or self._generation.tape is None:
            return False
        try:
            self._generation.require_again()
        except CannotRunAgain:
            return False
        return True

    def look_again(self, step: int) -> NoReturn:
        """Raises Rewind."""
        self._look_again(_SecondLook(step))

    def passes(self, ids: list[int], place: Place, operation: Operation | None) -> tuple[list[int], list[int], bool]:
        """The run is at a place with breakpoints. One that is new counts as passed from now on.

        Returns those of them that may stop a second look at its step; the others; and whether the run has been there
        before, so that only the first may stop it.
        """
        look, passed = self.look, (place, 0 if operation is None else operation.site.ordinal)
        if look is None or not look.is_silent:
            self._passed.add(passed)
            return [], ids, False
        late = [id for id in ids if self._is_late(id)] if place.step == look.step else []
        others = [id for id in ids if id not in late]
        return late, others, place.step < look.step or passed in self._passed

    def goes_on_to(self, step: int) -> None:
        """A step begins. What has not been read of the one before was passed on the way to somewhere."""
        self.alarms.forget()
        self._breakpoints.step_begins()
        self.alarms.hits.step_begins(step, self._breakpoints.deferred)
        self.alarms.hears_whole_step = True
        if self.look is not None and step == self.look.step:
            self._changed()
        elif self.look is not None and step > self.look.step:
            self._tell_if_nothing_was_found()
            self.ends()
        if self.look is None:
            self._passed.clear()

    def ends(self) -> None:
        """The run goes elsewhere, or the second look is over."""
        if self.look is not None:
            self.look = None
            self._changed()

    def go_back_to(self, step: int, rewind: Rewind) -> None:
        """The call was unwound, and runs on from the start of a step.

        In the step that somebody goes to, what lies before the place is past, and does not count: it is judged at once.
        """
        self.alarms.forget()
        self._breakpoints.take_hits_back(step)
        self._breakpoints.step_begins()
        self.alarms.hits.take_back(step, self._breakpoints.deferred)
        if rewind.turn is not None:
            self.alarms.quiet -= {quiet for quiet in self.alarms.quiet if quiet >= step}
        if not rewind.is_second_look:
            self._passed.clear()
            is_inside = self.alarms.is_armed and rewind.place.path != STEP
            self.look = _SecondLook(rewind.place.step, is_silent=False) if is_inside else None
        self._changed()

    def _tell_if_nothing_was_found(self) -> None:
        """In the second look at a step that is over, and has not ended the call by an exception."""
        look = self.look
        if look is not None and look.is_silent and sys.exception() is None:
            self.alarms.excuse_suspects()
            self.not_found_again(look.step, look.error is not None)

    def _flag(self, breakpoint: Breakpoint, module: nn.Module, output: Any) -> Tensor | bool:
        assert self._generation is not None
        call, path = call_frame(sys._getframe(1)), self._anatomy.path_of(module) or ""
        place = Place(self._generation.step, path, breakpoint.phase)
        return self._judging.flag(breakpoint, Candidate(place, self._generation, call, output))

    def _is_late(self, id: int) -> bool:
        breakpoint = self._breakpoints.by_id.get(id)
        return breakpoint is not None and breakpoint.is_deferred

    def _look_again(self, look: _SecondLook) -> NoReturn:
        self.look = look
        raise Rewind(Place(look.step, STEP), "", is_second_look=True)
