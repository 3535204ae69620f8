"""What a run is seen through: hooks on modules, the ends of calls, operations. Set up for what a plan has to see."""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import Any

from torch import nn

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.activations import Activation
from dap_server.engine.execution.found_late import FoundLate
from dap_server.engine.execution.hooks import ModuleHooks
from dap_server.engine.execution.motions import Motion, Plan
from dap_server.engine.execution.operations import OperationWatch
from dap_server.engine.execution.returns import ReturnWatch
from dap_server.engine.execution.stops import Stop
from dap_server.engine.execution.values import by_value

CallReturns = Callable[[nn.Module, FrameType, Any], None]
"""Is given a module, the frame of its call, and what the call returns."""


class Sight:
    """Of one stepper. Sees no more than the present plan and the breakpoints need."""

    def __init__(
        self,
        anatomy: Anatomy,
        hooks: ModuleHooks,
        operations: OperationWatch,
        late: FoundLate,
        passed: Callable[[str, Any], None],
        returns: CallReturns,
    ) -> None:
        """What it is set up with.

        Args:
            late: tells which breakpoints are judged at their places.
            passed: is given the path and the output, by value, of a module that is stepped over.
            returns: is told of the end of a call that is waited for.
        """
        self._anatomy, self._hooks, self._operations, self._late = anatomy, hooks, operations, late
        self._passed, self._call_returns = passed, returns
        self._returns = ReturnWatch()

    def arm(self, *more: tuple[nn.Module, Any]) -> None:
        """Sets the hooks of breakpoints. The end of a call is known by its number, so its beginning is seen too."""
        places = {*self._late.places.modules, *more}
        self._late.arm()
        self._hooks.arm(places | {(module, "before") for module, _ in places})

    def look_for(self, plan: Plan) -> None:
        """Sees what may end a plan."""
        if plan.motion not in (Motion.RUN, Motion.OUT) or self._needs_operations(plan):
            self._hooks.watch_all(True)
        if plan.place is not None and plan.place.phase == "after" and plan.place.path in self._anatomy.modules:
            self.arm((self._anatomy.modules[plan.place.path], "after"))

    def goes_on(self, plan: Plan, stop: Stop) -> None:
        """The same, from a stop on. On the model thread, whose returns are watched."""
        self.look_for(plan)
        self._operations.goes_on(self._needs_operations(plan), stop.place, self._calls(stop))
        is_at_module = bool(stop.activations) and stop.operation is None and stop.python is None
        if plan.motion in (Motion.NEXT, Motion.IN) and is_at_module and stop.place.phase == "before":
            self._hold_output(stop.activations[0], ends=plan.target is not None)
        if plan.parent is not None:
            self._watch_end(next(a for a in stop.activations if a.frame is plan.parent))

    def step_begins(self, plan: Plan) -> None:
        """A step begins, or what may contain some."""
        needed = self._needs_operations(plan)
        if needed:
            self._hooks.watch_all(True)
        self._operations.step_begins(needed)

    def forget_calls(self) -> None:
        """The calls whose ends were waited for have been unwound."""
        self._returns.clear()

    def stops(self) -> None:
        """Breakpoints alone are seen from now on."""
        self._returns.clear()
        self._hooks.watch_all(False)
        self.arm()

    def _needs_operations(self, plan: Plan) -> bool:
        return plan.needs_operations or self._late.places.has_operations

    def _calls(self, stop: Stop) -> list[tuple[FrameType, str]]:
        """The running calls of a stop, outermost first, with their paths."""
        running = [(a.frame, self._anatomy.path_of(a.module)) for a in reversed(stop.activations)]
        return [(frame, path) for frame, path in running if path is not None]

    def _hold_output(self, activation: Activation, ends: bool) -> None:
        """Keeps the output of a module that is stepped over; `ends` the motion there when a target is not reached."""
        path = self._anatomy.path_of(activation.module) or ""

        def returned(output: Any) -> None:
            if ends:
                self._call_returns(activation.module, activation.frame, output)
            else:
                self._passed(path, by_value(output))  # models write into it later on

        self._returns.watch(activation.frame, returned)

    def _watch_end(self, activation: Activation) -> None:
        self._returns.watch(
            activation.frame, lambda output: self._call_returns(activation.module, activation.frame, output)
        )
