"""Whether everything that a model's modules return is finite, asked of every value and as cheaply as can be."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import isfinite
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from dap_server.engine.anatomy.modules import Anatomy, is_called
from dap_server.engine.execution.costs import Cost
from dap_server.engine.execution.own_hooks import OwnHook

BETWEEN_TIMED = 16
"""Steps between those whose hooks are timed: looking at the clock costs as much as looking at the values."""


WIDE = frozenset([torch.float32, torch.bfloat16, torch.float64])
"""Types whose sums overflow only where nearly everything does."""


class Screen:
    """Sums what every leaf returns, while it is hot in the cache: a sum is finite if all its elements are.

    What modules around leaves do with these values flows into the next leaf, or into the logits. A sum may overflow by
    itself; then the step is looked at again for nothing. Where values are on the CPU a sum is read at once, on another
    device all sums of a step are read together.
    """

    def __init__(self, anatomy: Anatomy, is_ours: Callable[[], bool]) -> None:
        """`is_ours`: whether what runs now, on this thread, belongs to the run."""
        self.is_found = False
        self._anatomy, self._is_ours = anatomy, is_ours
        self._handles: list[RemovableHandle] = []
        self._sums: list[Tensor] = []
        self._steps, self._seconds, self._timed = 0, 0.0, 0.0
        self._is_timed = True
        self._listened = _leaves(anatomy)
        self._suspects: set[nn.Module] = set()
        self._naming: list[RemovableHandle] = []

    @property
    def is_on(self) -> bool:
        return bool(self._handles)

    def switch(self, on: bool) -> None:
        if on and not self._handles:
            self._handles = [module.register_forward_hook(OwnHook(self._returned)) for module in self._listened]
            self._steps = 0
        elif not on:
            for handle in self._handles:
                handle.remove()
            self._handles = []

    def forget(self) -> None:
        """What was heard so far does not count."""
        self._sums, self.is_found = [], False

    def names_suspects(self, on: bool) -> None:
        """Whether it is found out which modules return what is not finite. That waits for the device."""
        if on and not self._naming:
            self._suspects.clear()
            self._naming = [module.register_forward_hook(OwnHook(self._suspect)) for module in self._listened]
        elif not on:
            while self._naming:
                self._naming.pop().remove()

    def excuse_suspects(self) -> None:
        """What they return need not go on, as with a softmax over nothing: the modules around them are heard."""
        suspects, self._suspects = self._suspects, set()
        if suspects and self.is_on:
            around = {self._around(module) for module in suspects}
            self._listened = [*(m for m in self._listened if m not in suspects | around), *around]
            self.switch(False)
            self.switch(True)

    def look_at(self, tensor: Tensor) -> None:
        """One more value."""
        if tensor.dtype not in WIDE:
            if tensor.dtype is not torch.float16:
                return
            total = tensor.sum(dtype=torch.float32)  # its own sums would overflow
        else:
            total = tensor.sum()
        if not total.is_cpu:
            if self._is_ours():
                self._sums.append(total)
        elif not isfinite(total.item()):
            self.is_found |= self._is_ours()

    def flags(self) -> list[Tensor]:
        """Those of the sums that have not been read."""
        alike: dict[tuple[torch.dtype, torch.device], list[Tensor]] = {}
        for total in self._sums:
            alike.setdefault((total.dtype, total.device), []).append(total)
        return [~torch.isfinite(torch.stack(totals)).all() for totals in alike.values()]

    def step_ends(self, cost: Cost) -> None:
        """Adds what the step has cost."""
        if self._is_timed:
            self._seconds, self._timed = self._timed, 0.0
        cost.add(self._seconds, len(self._handles))
        self._steps += 1
        self._is_timed = self._steps % BETWEEN_TIMED < 2

    def _returned(self, _module: nn.Module, _args: Any, output: Any) -> None:
        if self._is_timed and self._is_ours():
            begun = perf_counter()
            self.look(output)
            self._timed += perf_counter() - begun
        elif output.__class__ is Tensor and output.dtype in WIDE and output.is_cpu:  # as `look` does, in one call
            if not isfinite(output.sum().item()):
                self.is_found |= self._is_ours()
        else:
            self.look(output)

    def _suspect(self, module: nn.Module, _args: Any, output: Any) -> None:
        values = [tensor for tensor in _tensors(output) if tensor.is_floating_point()]
        if self._is_ours() and not all(bool(torch.isfinite(tensor).all()) for tensor in values):
            self._suspects.add(module)

    def _around(self, module: nn.Module) -> nn.Module:
        """The module whose forward calls it."""
        modules, path = self._anatomy.modules, self._anatomy.path_of(module) or ""
        while path:
            path = path.rpartition(".")[0]
            if is_called(modules[path]):
                break
        return modules[path]

    def look(self, output: Any) -> None:
        """At what a leaf has returned."""
        if output.__class__ is Tensor:
            self.look_at(output)
        else:
            for tensor in _tensors(output):
                self.look_at(tensor)


def _leaves(anatomy: Anatomy) -> list[nn.Module]:
    """The modules that call no others."""
    return [module for module in anatomy.modules.values() if is_called(module) and not list(module.children())]


def _tensors(output: Any) -> Iterable[Tensor]:
    if isinstance(output, Tensor):
        return (output,)
    values = output.values() if isinstance(output, dict) else output if isinstance(output, tuple | list) else ()
    return [value for value in values if isinstance(value, Tensor)]
