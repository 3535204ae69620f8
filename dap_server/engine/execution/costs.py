"""What breakpoints cost the run: measured while they are judged, in seconds of the model thread.

Every evaluation is timed, but for those of the screen for what is not finite, which are in some steps and count for the
others. What its hook costs before and behind it is added to each: the same for all, measured once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from dap_server.engine.execution.generation import Generation

CALLS = 200
"""Of an empty module, to measure what a hook costs beside what it does."""


@dataclass
class Cost:
    """Of one breakpoint in the present run.

    Attributes:
        evaluations: how often it was judged, or its flag was worked out.
        working: seconds of that.
        steps: in which that was so; one that has run again counts again.
    """

    evaluations: int = 0
    working: float = 0.0
    steps: int = 0
    _is_in_step: bool = False  # which is counted

    def step_begins(self) -> None:
        self._is_in_step = False

    def add(self, seconds: float, evaluations: int = 1) -> None:
        self.steps += not self._is_in_step
        self._is_in_step = True
        self.evaluations += evaluations
        self.working += seconds

    @property
    def seconds(self) -> float:
        """With the hooks."""
        return self.working + self.evaluations * HookCost.seconds()

    @property
    def per_step(self) -> float:
        """Seconds of a step in which it was judged."""
        return self.seconds / max(self.steps, 1)

    def share(self, generation: Generation) -> float | None:
        """Of the time that a step takes; None while no step is over."""
        steps = len(generation.records)
        return self.per_step / (generation.seconds / steps) if steps and generation.seconds else None

    @property
    def text(self) -> str:
        """`0.4 ms a token`, with one digit that counts, so that it does not change all the time."""
        seconds = self.per_step
        if seconds < 5e-7:
            return "less than 1 µs a token"
        rounded = float(f"{seconds:.0e}")
        return f"{rounded * 1e3:g} ms a token" if rounded >= 1e-4 else f"{rounded * 1e6:g} µs a token"


class HookCost:
    """What a forward hook costs on this machine, beside what it does. Measured once."""

    _seconds: float | None = None

    @classmethod
    def seconds(cls) -> float:
        if cls._seconds is None:
            module = nn.Identity()
            plain = cls._time(module, [])
            cls._seconds = max(cls._time(module, [module.register_forward_hook(lambda *_: None)]) - plain, 0.0)
        return cls._seconds

    @staticmethod
    def _time(module: nn.Module, handles: Iterable[RemovableHandle]) -> float:
        value, best = torch.zeros(()), float("inf")
        for _ in range(3):
            begun = perf_counter()
            for _ in range(CALLS):
                module(value)
            best = min(best, perf_counter() - begun)
        for handle in handles:
            handle.remove()
        return best / CALLS
