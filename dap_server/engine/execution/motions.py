"""How a run goes on from a stop, and what ends that."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from types import FrameType

from torch import nn

from dap_server.engine.execution.activations import enclosing_call, is_live
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.operations import Operation
from dap_server.modelmap.places import STEP, Place


class Motion(enum.Enum):
    """How a run goes on."""

    RUN = "continue"
    IN = "stepIn"
    NEXT = "next"
    OUT = "stepOut"
    OPERATION = "next operation"
    OPERATION_OUT = "next operation outside of this module"
    TOKEN = "next token"
    PAUSE = "pause"
    TO = "to a place"


BY_OPERATION = (Motion.OPERATION, Motion.OPERATION_OUT)


@dataclass(frozen=True)
class Plan:
    """What ends the present stretch of running, besides breakpoints.

    Attributes:
        parent: the module call around the last stop; its end ends NEXT, IN and OUT. None is the step itself.
        target: the only module that ends IN, when one was chosen.
        place: the only place that ends TO, whatever breakpoints lie on the way.
        ordinal: of the operation that this place is, in its step; 0 when it is none.
        left: the module call that has to be over before an operation ends OPERATION_OUT.
        is_again: whether the run has been at the places on the way before.
        since: the step that it can end in at first.
        reason: of the stop, in DAP's words.
        about: what has brought the run there, for people.
        only: which modules end IN, where no target was chosen; None says all.
    """

    motion: Motion = Motion.RUN
    parent: FrameType | None = None
    target: nn.Module | None = None
    place: Place | None = None
    ordinal: int = 0
    left: FrameType | None = None
    is_again: bool = False
    since: int = 0
    reason: str = "step"
    about: str = ""
    only: Callable[[nn.Module], bool] | None = None

    @cached_property
    def is_free(self) -> bool:
        """Whether breakpoints alone end it."""
        return self.motion is Motion.RUN

    @property
    def needs_operations(self) -> bool:
        return self.motion in BY_OPERATION or self.ordinal > 0

    def ends_before(self, module: nn.Module, call: FrameType, generation: Generation) -> bool:
        """Whether a module call that begins ends it."""
        if self.motion in (Motion.RUN, *BY_OPERATION) or generation.step < self.since:
            return False
        if self.motion is Motion.PAUSE:
            return True
        if self.motion is Motion.TOKEN:  # another loop than ours tells no steps: each call of the whole model is one
            return not generation.is_own_loop and enclosing_call(call) is None
        if self.motion is Motion.IN:
            return self.target is module if self.target is not None else self.only is None or self.only(module)
        if self.parent is None:
            within_selection = generation.selection is not None  # a logits processor calls the model
            return self.motion is Motion.NEXT and enclosing_call(call) is None and not within_selection
        outer = enclosing_call(call)
        if self.motion is Motion.NEXT and outer is self.parent:
            return True
        return not is_live(self.parent, call)  # it ended by an exception that the model caught

    def ends_after(self, call: FrameType) -> bool:
        """Whether the end of a module call ends it."""
        return call is self.parent and self.motion is not Motion.RUN

    def ends_at(self, name: str, step: int) -> bool:
        """Whether a pseudo-module that begins ends it."""
        if step < self.since:
            return False
        if self.motion in (Motion.TOKEN, Motion.OUT):
            return name == STEP
        return self.motion not in (Motion.RUN, Motion.TO)

    def ends_at_operation(self, operation: Operation, step: int) -> bool:
        """Whether an operation that is about to run ends it."""
        if step < self.since:
            return False
        if self.motion is Motion.OPERATION_OUT:
            return self.left is None or not is_live(self.left, operation.caller)
        return self.motion in (Motion.OPERATION, Motion.PAUSE)

    def in_second_look(self, step: int) -> Plan:
        """The same while a step that it has passed runs again: it ends later. The calls around it are gone."""
        if self.motion in (Motion.RUN, Motion.TO, Motion.PAUSE):
            return self
        motion = self.motion if self.parent is None else Motion.TOKEN
        return replace(self, motion=motion, parent=None, target=None, left=None, since=step + 1)


def plan_from(
    place: Place, call: FrameType | None, motion: Motion, target: nn.Module | None = None, is_inside: bool = False
) -> Plan:
    """The plan of a motion from a stop at a place; `call` is the innermost module call there.

    `is_inside`: the stop is at an operation of that call, not at its beginning or end.
    """
    if motion in BY_OPERATION:
        return Plan(motion, left=call)
    if place.path == STEP and motion in (Motion.NEXT, Motion.OUT):
        return Plan(Motion.TOKEN)
    if motion in (Motion.RUN, Motion.PAUSE):
        return Plan(motion)
    parent = call if is_inside or call is None else enclosing_call(call)
    if motion is Motion.OUT and parent is None:
        return Plan(Motion.TOKEN)
    return Plan(motion, parent, target)
