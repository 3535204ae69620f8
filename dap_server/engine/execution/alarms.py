"""What may have been hit in a step, found out without waiting for the device.

Breakpoints that are deferred are not judged where they are passed. Each adds a flag to those of the step, and one read
of all of them, where the decode loop waits for the device anyway, says whether the step has to run again with
everything judged at once.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from math import isfinite
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.breakpoints import Breakpoint
from dap_server.engine.execution.device_hits import DeviceHits
from dap_server.engine.execution.own_hooks import OwnHook
from dap_server.engine.execution.screen import Screen
from dap_server.engine.execution.stops import NOTHING

Flag = Callable[[Breakpoint, nn.Module, Any], Tensor | bool]
"""Works out the condition of a breakpoint in a module call, whose output is NOTHING where it begins."""


class Alarms:
    """Listens to one thread's modules, for the breakpoints that are deferred.

    Attributes:
        hears_whole_step: whether the present step has been listened to from its beginning on.
        quiet: the steps that were listened to from beginning to end, and in which nothing was hit.
        hits: counted on the device, of those with a hit condition.
    """

    def __init__(self, anatomy: Anatomy, flag: Flag, is_ours: Callable[[], bool]) -> None:
        """`is_ours`: whether what runs now, on this thread, belongs to the run."""
        self.hears_whole_step = False
        self.quiet: set[int] = set()
        self.hits = DeviceHits()
        self._anatomy, self._flag, self._is_ours = anatomy, flag, is_ours
        self._armed: list[Breakpoint] = []
        self._screen = Screen(anatomy, is_ours)
        self._handles: list[RemovableHandle] = []
        self._flags: list[Tensor] = []
        self._is_certain = False  # a flag that was raised on the host

    @property
    def is_armed(self) -> bool:
        return bool(self._armed)

    def arm(self, breakpoints: Iterable[Breakpoint]) -> None:
        """Listens for exactly these."""
        wanted = list(breakpoints)
        if len(wanted) == len(self._armed) and all(map(operator.is_, wanted, self._armed)):
            return
        if [b.wanted for b in wanted] != [b.wanted for b in self._armed]:
            self.quiet.clear()
        self._disarm()
        self.hears_whole_step = False
        self._armed = wanted
        for breakpoint in wanted:
            if breakpoint.is_filter("nonFinite"):
                self._screen.switch(True)
            elif breakpoint.condition is not None:
                self._handles += [self._watch(breakpoint, self._anatomy.modules[path]) for path in breakpoint.paths]

    def _disarm(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._armed = [], []
        self._screen.switch(False)
        self.forget()

    def forget(self) -> None:
        """What was heard so far does not count."""
        self._flags, self._is_certain = [], False
        self._screen.forget()

    def names_suspects(self, on: bool) -> None:
        """Whether it is found out, as a step runs again, which modules ring. That waits for the device."""
        self._screen.names_suspects(on and self._screen.is_on)

    def excuse_suspects(self) -> None:
        """The second look at a step is over, and nothing was found in it."""
        self._screen.excuse_suspects()

    def hear_logits(self, logits: Tensor) -> None:
        """(B, V), which no module has returned. Minus infinity is how a model rules out tokens."""
        if self._screen.is_on:
            self._screen.look_at(logits.amax(-1))

    def ends(self, module: nn.Module, output: Any) -> None:
        """The run is about to stop at the end of a module, whose own hook here may come later."""
        if self._screen.is_on and not any(module.children()):
            self._screen.look(output)

    def guarded(self, probs: Tensor) -> Tensor:
        """(B, V) probabilities to draw from: as they are, but a uniform row where there is nothing to draw from.

        Drawing from NaN raises, and on a GPU ends the process' use of it, before any flag is read.
        """
        if not self._screen.is_on:
            return probs
        if probs.is_cpu and isfinite(probs.sum().item()):
            return probs
        is_valid = torch.isfinite(probs).all(-1, keepdim=True)  # a softmax is NaN as a whole or not at all
        self._flags.append(~is_valid.all())
        return torch.where(is_valid, probs, 1 / probs.shape[-1])

    def flag(self, device: torch.device) -> Tensor:
        """Whether anything may have been hit since the last time, as one boolean on a device; nothing waits for it."""
        flags, certain = [*self._flags, *self._screen.flags()], self._is_certain or self._screen.is_found
        self.forget()
        if self._screen.is_on:
            screened = next(b for b in self._armed if b.is_filter("nonFinite"))
            self._screen.step_ends(screened.cost)
        if not flags:
            return torch.tensor(certain, device=device)
        raised = torch.stack([flag.to(device, non_blocking=True) for flag in flags]).any()
        return raised | certain if certain else raised

    def _watch(self, breakpoint: Breakpoint, module: nn.Module) -> RemovableHandle:
        if breakpoint.phase == "before":
            return module.register_forward_pre_hook(OwnHook(self._passed, breakpoint))
        return module.register_forward_hook(OwnHook(self._passed, breakpoint))

    def _passed(self, breakpoint: Breakpoint, module: nn.Module, _args: Any, output: Any = NOTHING) -> None:
        """A module call begins or ends on which a deferred condition stands."""
        if self._is_ours():
            self.note(breakpoint, lambda: self._flag(breakpoint, module, output))

    def note(self, breakpoint: Breakpoint, work: Callable[[], Tensor | bool]) -> None:
        """Works out a deferred condition where it stands."""
        begun = perf_counter()
        try:
            flag = work()
        except Exception:  # it says what, when it is judged at once
            flag = True
        if breakpoint.hits is not None:
            flag = self.hits.add(breakpoint, flag)
        if isinstance(flag, Tensor):
            self._flags.append(flag.reshape(()))
        else:
            self._is_certain |= bool(flag)
        breakpoint.cost.add(perf_counter() - begun)
