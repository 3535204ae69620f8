"""The models of a program: each is found when it is first called, and is debugged from that call on."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from transformers import PretrainedConfig

from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.tasks import Task, UnknownTask, task_of
from dap_server.engine.debuggee import Debuggee
from dap_server.engine.execution.breakpoints import Breakpoint, Wanted
from dap_server.engine.execution.calls.calls import Calls
from dap_server.engine.execution.calls.compiled import is_compiled
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Interruption, Stepper
from dap_server.engine.inspection.python_frames import in_call
from dap_server.engine.program.tokenizers import name_of, tokenizer_around, tokenizer_beside

MOST = 8
"""Models that are kept; one that is called after so many others have been is found anew."""
UNKNOWN = "a program's models are known when they are first called"


@dataclass(frozen=True)
class Placed:
    """What is known of a breakpoint in all models together.

    Attributes:
        is_verified: whether it can be hit in one of them.
        is_pending: whether a model that is called later may have it.
    """

    id: int
    is_verified: bool
    message: str | None = None
    is_pending: bool = False


class Models:
    """Finds them, and says which one is current: whose call runs, or was the last to run."""

    def __init__(
        self,
        make: Callable[[Loaded], Debuggee],
        current: Callable[[Debuggee], None],
        changed: Callable[[Placed], None],
        say: Callable[[str], None],
    ) -> None:
        """What they are told.

        Args:
            make: makes what requests work on of a model that has been found.
            current: is told whose call begins.
            changed: is told of a breakpoint of which something else is known than before.
            say: is given what the debugger has to say.
        """
        self._make, self._current, self._changed, self._say = make, current, changed, say
        self.calls = Calls(self)
        self.nothing = make(Loaded(nn.Module(), None, None))
        """Stands for a model before any was called."""
        self.now = self.nothing
        self.left_by_step: Callable[[], bool] = lambda: False
        """Asked at the end of a call in which a step has not ended: does it end elsewhere? Else it does in the next."""
        self._known: dict[int, Debuggee] = {}
        self._wanted: list[Wanted] = []
        self._told: dict[int, Placed] = {}
        self._map: tuple[str | None, list[str]] = (None, [])
        self._has_map: set[int] = set()
        self._pausing: str | None = None
        self._entered: Callable[[nn.Module], bool] = lambda _model: True
        self._lock = threading.RLock()
        self._has_said_eager = False
        current(self.nothing)

    @property
    def all(self) -> list[Debuggee]:
        """Those that have been called, in the order in which they were found."""
        return list(self._known.values())

    @property
    def in_call(self) -> bool:
        """Whether a call of a model is under way, stopped or not."""
        return self.calls.thread is not None

    def attach(self) -> None:
        """Calls that begin from now on are debugged."""
        self.calls.install()

    def detach(self) -> None:
        """Nothing of ours stays in the process; a call that is under way runs on to its end."""
        self.calls.remove()
        with self._lock:
            self._pausing, self._wanted = None, []
            for debuggee in [self.nothing, *self.all]:
                debuggee.stepper.release()

    def forked(self) -> None:
        """In a child of this process, which has one thread: as if nobody had attached. Others may have held locks."""
        self._lock = threading.RLock()
        self.calls.forked()
        self.detach()

    # --- for requests, on any thread

    def set_breakpoints(self, wanted: list[Wanted]) -> list[Placed]:
        """Replaces all breakpoints, in all models."""
        with self._lock:
            self._wanted = wanted
            for debuggee in self.all:
                debuggee.set_breakpoints(wanted)
            self._told = {one.id: self._placed(one.id) for one in wanted}
            return [self._told[one.id] for one in wanted]

    def breakpoint_changed(self, breakpoint: Breakpoint) -> None:
        """Something else is known of it in one model: what that means in all is told, if it is new."""
        with self._lock:
            placed = self._placed(breakpoint.id)
            if breakpoint.id in self._told and placed != self._told[breakpoint.id]:
                self._told[breakpoint.id] = placed
                self._changed(placed)

    def use_map(self, given: str | None, candidates: Sequence[str]) -> None:
        """Which files may be the map of a model. A map is made at a model's first stop: that takes seconds."""
        self._map = given, list(candidates)
        for debuggee in self.all:
            if id(debuggee.loaded.model) in self._has_map:
                self._find_map(debuggee)

    def pause(self, reason: str = "pause") -> None:
        """Stops at the next place of the call that is under way, or of the next one."""
        self._pausing, self._entered = reason, lambda _model: True
        if self.in_call:
            self.now.stepper.pause(reason)

    def enter(self, entered: Callable[[nn.Module], bool]) -> None:
        """Stops at the first place of the next call, if it is of one of these models."""
        self._pausing, self._entered = "step", entered

    def stay_outside(self) -> None:
        """A thread stands at a line of Python: what was to stop in a call has stopped elsewhere."""
        self._pausing = None

    def interrupt(self, interruption: Interruption) -> None:
        """Raises in the thread of the call that is under way."""
        if self.in_call:
            self.now.stepper.interrupt(interruption)

    # --- an owner of calls, on the thread of the call

    def called(self, model: nn.Module, given: Iterable[Any], is_eager: bool) -> Stepper | None:
        with self._lock:
            debuggee = self._known.get(id(model))
            if debuggee is None or not debuggee.anatomy.is_current:
                if any(map(is_lazy, model.parameters())):
                    return None  # it becomes a model in this call, which could not begin again
                debuggee = self._found(model, given)
                is_eager = is_eager or is_compiled(model)
            if is_eager and not self._has_said_eager:
                self._has_said_eager = True
                self._say("compiled models run eagerly while the debugger is attached\n")
            self.now = debuggee
            if self._pausing is not None and self._entered(model):
                debuggee.stepper.pause(self._pausing)
        self._current(debuggee)
        return debuggee.stepper

    def token(self, stepper: Stepper, tokens: Tensor) -> None:
        """The program writes what it wants to."""

    def finished(self, stepper: Stepper, generation: Generation) -> None:
        if stepper.is_stepping and not self.left_by_step():
            self._pausing, self._entered = "step", lambda _model: True

    # --- one model

    def _found(self, model: nn.Module, given: Iterable[Any]) -> Debuggee:
        tokenizer = tokenizer_around(sys._getframe(2), model, given)
        debuggee = self._make(Loaded(model, tokenizer, _task(model)))
        debuggee.stepper.breakpoints.counts_on = True
        debuggee.stopping = lambda: self._stopping(debuggee)
        if (former := self._known.pop(id(model), None)) is not None:  # whose modules are others now
            former.stepper.set_breakpoints([])
        self._has_map.discard(id(model))
        self._known[id(model)] = debuggee
        while len(self._known) > MOST:
            oldest = self._known.pop(next(iter(self._known)))
            oldest.stepper.set_breakpoints([])
        debuggee.set_breakpoints(self._wanted)
        for breakpoint in debuggee.stepper.breakpoints.all:
            self.breakpoint_changed(breakpoint)
        return debuggee

    def _stopping(self, debuggee: Debuggee) -> None:
        """It is parked, and nobody knows yet."""
        self._pausing = None
        self._current(debuggee)
        stop = debuggee.stepper.stop
        if stop is not None and not in_call(stop):
            return  # nothing of the model is shown
        if id(debuggee.loaded.model) in self._has_map:
            return
        self._has_map.add(id(debuggee.loaded.model))
        if debuggee.vocabulary.tokenizer is None and (found := tokenizer_beside(debuggee.loaded.model)) is not None:
            debuggee.adopt_tokenizer(found)
        self._find_map(debuggee)

    def _find_map(self, debuggee: Debuggee) -> None:
        model = debuggee.loaded.model
        debuggee.use_map(*self._map, os.path.basename(name_of(model)) or type(model).__name__)

    def _placed(self, id: int) -> Placed:
        found = [b for debuggee in self.all if (b := debuggee.stepper.breakpoints.of(id)) is not None]
        best = next((b for b in found if b.is_verified), found[-1] if found else None)
        if best is None:
            return Placed(id, False, UNKNOWN, is_pending=True)
        return Placed(id, best.is_verified, best.message, is_pending=not best.is_verified)


def _task(model: Any) -> Task | None:
    config = getattr(model, "config", None)
    if not isinstance(config, PretrainedConfig):
        return None
    try:
        return task_of(config)
    except UnknownTask:
        return None
