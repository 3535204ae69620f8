"""What may have been hit in a step, found out without waiting for the device.

Breakpoints that are deferred are not judged where they are passed. Each adds a flag to those of the step, and one read
of all of them, where the decode loop waits for the device anyway, says whether the step has to run again with
everything judged at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.execution.breakpoints import Breakpoint, is_called

KEPT = 1 << 16
"""Elements up to which an output is kept until the end of the step, to be looked at with others."""

Flag = Callable[[Breakpoint, nn.Module, FrameType, Any], Tensor | bool]


class Alarms:
    """Listens to one thread's modules, for the breakpoints that are deferred.

    Attributes:
        hears: whether what modules return now belongs to the run.
        quiet: the steps that were listened to from beginning to end, and in which nothing was hit.
    """

    def __init__(self, anatomy: Anatomy) -> None:
        self.hears = True
        self.quiet: set[int] = set()
        self.thread: int | None = None
        """Identifier of the only thread whose calls count."""
        self._anatomy = anatomy
        self._handles: list[RemovableHandle] = []
        self._outputs: list[Tensor] = []
        self._flags: list[Tensor] = []
        self._is_certain = False  # a flag that was raised on the host
        self._screens = False

    @property
    def is_armed(self) -> bool:
        return bool(self._handles)

    @property
    def screens(self) -> bool:
        """Whether every value is looked at for NaN and infinity."""
        return self._screens

    def arm(self, breakpoints: Iterable[Breakpoint]) -> None:
        """Listens for exactly these."""
        wanted = list(breakpoints)
        screens = any(b.filter is not None and b.filter.id == "nonFinite" for b in wanted)
        if screens == self._screens:
            return
        self.disarm()
        self.quiet.clear()
        self._screens = screens
        if screens:
            self._handles = [m.register_forward_hook(self._returned) for m in _leaves(self._anatomy)]

    def disarm(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        self._screens = False
        self.forget()

    def forget(self) -> None:
        """What was heard so far does not count."""
        self._outputs, self._flags, self._is_certain = [], [], False

    def hear(self, tensor: Tensor) -> None:
        """A value that no module has returned, such as the logits (B, V)."""
        self._outputs.append(tensor)

    def guarded(self, probs: Tensor) -> Tensor:
        """(B, V) probabilities to draw from: as they are, but a uniform row where there is nothing to draw from.

        Drawing from NaN raises, and on a GPU ends the process' use of it, before any flag is read.
        """
        is_valid = torch.isfinite(probs).all(-1, keepdim=True)  # a softmax is NaN as a whole or not at all
        self._flags.append(~is_valid.all())
        return torch.where(is_valid, probs, 1 / probs.shape[-1])

    def flag(self, device: torch.device) -> Tensor:
        """Whether anything may have been hit since the last time, as one boolean on a device; nothing waits for it."""
        flags = [*self._flags, *(~torch.isfinite(total) for total in self._totals())]
        certain = self._is_certain
        self.forget()
        if not flags:
            return torch.tensor(certain, device=device)
        raised = torch.stack([flag.to(device, non_blocking=True) for flag in flags]).any()
        return raised | certain if certain else raised

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
        if isinstance(output, Tensor) and output.numel() <= KEPT:
            self._outputs.append(output)
            return
        for tensor in _tensors(output):
            if tensor.is_floating_point():
                if tensor.numel() <= KEPT:
                    self._outputs.append(tensor)
                else:
                    self._flags.append(~torch.isfinite(tensor.sum(dtype=_sum_dtype(tensor.dtype))))


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
