"""Hits of deferred breakpoints, counted where their flags are: on the device."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from dap_server.engine.execution.breakpoints import Breakpoint


class DeviceHits:
    """The counts of breakpoints with a hit condition, and what they were when each step began."""

    def __init__(self) -> None:
        self._counts: dict[int, Tensor | int] = {}
        self._at_steps: dict[int, dict[int, Tensor | int]] = {}

    def add(self, breakpoint: Breakpoint, flag: Tensor | bool) -> Tensor | bool:
        """One more hit where the flag is set; whether its number meets the hit condition."""
        assert breakpoint.hits is not None
        count = self._counts.get(breakpoint.id, breakpoint.hits.count)
        if isinstance(flag, Tensor):
            count = torch.as_tensor(count, device=flag.device) + flag.reshape(()).long()
        elif flag:
            count = count + 1
        self._counts[breakpoint.id] = count
        condition: Any = breakpoint.hits.condition  # it compares and divides, which tensors do too
        is_met = condition.is_met(count)
        if isinstance(flag, Tensor):
            return torch.logical_and(flag.reshape(()), torch.as_tensor(is_met, device=flag.device))
        return is_met if flag else False

    def step_begins(self, step: int, breakpoints: Iterable[Breakpoint]) -> None:
        counted = [b for b in breakpoints if b.hits is not None]
        if counted:
            self._at_steps[step] = {b.id: self._counts.get(b.id, b.hits.count) for b in counted if b.hits is not None}

    def take_back(self, step: int, breakpoints: Iterable[Breakpoint]) -> None:
        """The run goes back to the start of a step: the hosts' counts are what they were then. Waits for the device."""
        known = self._at_steps.get(step, {})
        for breakpoint in breakpoints:
            if breakpoint.hits is not None and breakpoint.id in known:
                breakpoint.hits.stand_at(step, int(known[breakpoint.id]))
        self._counts.clear()  # they go on from the host's
        self._at_steps = {s: counts for s, counts in self._at_steps.items() if s <= step}

    def settle(self, breakpoints: Iterable[Breakpoint]) -> None:
        """A call ends: the hosts' counts are these. Waits for the device, if it has counted."""
        for breakpoint in breakpoints:
            if breakpoint.hits is not None and breakpoint.id in self._counts:
                breakpoint.hits.count = int(self._counts[breakpoint.id])
        self.forget()

    def forget(self) -> None:
        """A run begins."""
        self._counts.clear()
        self._at_steps.clear()
