"""What may have been hit in a step, found out without waiting for the device.

Breakpoints that are deferred are not judged where they are passed. Each adds a flag to those of the step, and one read
of all of them, where the decode loop waits for the device anyway, says whether the step has to run again with
everything judged at once.
"""

from __future__ import annotations

import functools
import operator
import threading
from collections.abc import Callable, Iterable
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.breakpoints import Breakpoint, is_called
from dap_server.engine.execution.costs import HookCost
from dap_server.engine.execution.device_hits import DeviceHits
from dap_server.engine.execution.stops import NOTHING

KEPT = 1 << 16
"""Elements up to which an output is kept until the end of the step, to be looked at with others."""

Flag = Callable[[Breakpoint, nn.Module, Any], Tensor | bool]
"""Works out the condition of a breakpoint in a module call, whose output is NOTHING where it begins."""


class Alarms:
    """Listens to one thread's modules, for the breakpoints that are deferred.

    Attributes:
        hears: whether what modules return now belongs to the run.
        quiet: the steps that were listened to from beginning to end, and in which nothing was hit.
        hits: counted on the device, of those with a hit condition.
    """

    def __init__(self, anatomy: Anatomy, flag: Flag) -> None:
        self.hears = True
        self.quiet: set[int] = set()
        self.hits = DeviceHits()
        self.thread: int | None = None
        """Identifier of the only thread whose calls count."""
        self._anatomy, self._flag = anatomy, flag
        self._armed: list[Breakpoint] = []
        self._screen: Breakpoint | None = None
        self._handles: list[RemovableHandle] = []
        self._outputs: list[Tensor] = []
        self._flags: list[Tensor] = []
        self._is_certain = False  # a flag that was raised on the host
        self._heard = 0

    @property
    def is_armed(self) -> bool:
        return bool(self._handles)

    def arm(self, breakpoints: Iterable[Breakpoint]) -> None:
        """Listens for exactly these."""
        wanted = list(breakpoints)
        if len(wanted) == len(self._armed) and all(map(operator.is_, wanted, self._armed)):
            return
        if [b.wanted for b in wanted] != [b.wanted for b in self._armed]:
            self.quiet.clear()
        self._disarm()
        self._armed = wanted
        for breakpoint in wanted:
            if breakpoint.filter is not None and breakpoint.filter.id == "nonFinite":
                self._screen = breakpoint
                self._handles += [m.register_forward_hook(self._returned) for m in _leaves(self._anatomy)]
            elif breakpoint.condition is not None:
                self._handles += [self._watch(breakpoint, self._anatomy.modules[path]) for path in breakpoint.paths]

    def _disarm(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles, self._armed, self._screen = [], [], None
        self.forget()

    def forget(self) -> None:
        """What was heard so far does not count."""
        self._outputs, self._flags, self._is_certain, self._heard = [], [], False, 0

    def hear(self, tensor: Tensor) -> None:
        """A value that no module has returned, such as the logits (B, V)."""
        if self._screen is not None:
            self._outputs.append(tensor)

    def guarded(self, probs: Tensor) -> Tensor:
        """(B, V) probabilities to draw from: as they are, but a uniform row where there is nothing to draw from.

        Drawing from NaN raises, and on a GPU ends the process' use of it, before any flag is read.
        """
        if self._screen is None:
            return probs
        is_valid = torch.isfinite(probs).all(-1, keepdim=True)  # a softmax is NaN as a whole or not at all
        self._flags.append(~is_valid.all())
        return torch.where(is_valid, probs, 1 / probs.shape[-1])

    def flag(self, device: torch.device) -> Tensor:
        """Whether anything may have been hit since the last time, as one boolean on a device; nothing waits for it."""
        begun = perf_counter()
        flags = [*self._flags, *(~torch.isfinite(total) for total in self._totals())]
        certain, heard = self._is_certain, self._heard
        self.forget()
        if flags:
            raised = torch.stack([flag.to(device, non_blocking=True) for flag in flags]).any()
            raised = raised | certain if certain else raised
        else:
            raised = torch.tensor(certain, device=device)
        if self._screen is not None:
            self._screen.cost.add(perf_counter() - begun + heard * HookCost.seconds(), heard)
        return raised

    def _totals(self) -> list[Tensor]:
        """Sums that are finite only if all that was returned is; a sum that overflows is looked at again too."""
        alike: dict[tuple[torch.Size, torch.dtype, torch.device], list[Tensor]] = {}
        for tensor in self._outputs:
            if tensor.is_floating_point():
                alike.setdefault((tensor.shape, tensor.dtype, tensor.device), []).append(tensor)
        return [torch.stack(tensors).sum(dtype=_sum_dtype(dtype)) for (_, dtype, _), tensors in alike.items()]

    def _returned(self, _module: nn.Module, _args: Any, output: Any) -> None:
        if not self.hears or threading.get_ident() != self.thread:
            return
        self._heard += 1
        if isinstance(output, Tensor) and output.numel() <= KEPT:
            self._outputs.append(output)
            return
        for tensor in _tensors(output):
            if tensor.is_floating_point():
                if tensor.numel() <= KEPT:
                    self._outputs.append(tensor)
                else:
                    self._flags.append(~torch.isfinite(tensor.sum(dtype=_sum_dtype(tensor.dtype))))

    def _watch(self, breakpoint: Breakpoint, module: nn.Module) -> RemovableHandle:
        if breakpoint.phase == "before":
            return module.register_forward_pre_hook(functools.partial(self._passed, breakpoint))
        return module.register_forward_hook(functools.partial(self._passed, breakpoint))

    def _passed(self, breakpoint: Breakpoint, module: nn.Module, _args: Any, output: Any = NOTHING) -> None:
        """A module call begins or ends on which a deferred condition stands."""
        if self.hears and threading.get_ident() == self.thread:
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
        breakpoint.cost.add(perf_counter() - begun + HookCost.seconds())


def _leaves(anatomy: Anatomy) -> list[nn.Module]:
    """The modules that call no others. What others return is made of what these return."""
    return [module for module in anatomy.modules.values() if is_called(module) and not list(module.children())]


def _tensors(output: Any) -> Iterable[Tensor]:
    if isinstance(output, Tensor):
        return (output,)
    values = output.values() if isinstance(output, dict) else output if isinstance(output, tuple | list) else ()
    return [value for value in values if isinstance(value, Tensor)]


def _sum_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32
