"""The tape of one `generate` call: enough of every step to run it again, and as little as that.

Where the cache only appends and nothing else remembers, a step costs a few numbers, and its past is a crop. Otherwise
there are checkpoints by value every few steps, fewer the older they are, and a step is reached by running forward from
the nearest one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dap_server.engine.execution import caches
from dap_server.engine.execution.caches import CacheMark
from dap_server.engine.execution.holders import Holders, Snapshot
from dap_server.engine.execution.randomness import RandomState, Recorder

SPACING = 4
"""Steps between checkpoints: a step back runs at most this many forwards."""

CHECKPOINT_BYTES = 512 * 1024 * 1024
"""What all checkpoints of a run may take together."""

MIN_CHECKPOINTS = 4


@dataclass(slots=True)
class StepState:
    """The start of one step.

    Attributes:
        random: shared with the step before as far as it has not moved.
        unfinished: (B,) 1 for sequences that go on.
        elapsed: seconds that the run has taken, stops not counted.
    """

    random: RandomState
    unfinished: Tensor
    cache: CacheMark
    elapsed: float


@dataclass
class Checkpoint:
    """State by value at the start of a step.

    Attributes:
        good_until: the last step that has the same state outside the cache.
        cache_object: what held the cache then; models may replace it.
        kwargs: the other arguments of the model.
    """

    step: int
    good_until: int
    cache: CacheMark
    cache_object: Any
    holders: Snapshot
    kwargs: dict[str, Any]
    nbytes: int = 0

    def __post_init__(self) -> None:
        self.nbytes = self.cache.nbytes + self.holders.nbytes


class Timeline:
    """Records a decode loop, step by step. Knows how to come back, not how to run."""

    def __init__(self, model: Any, holders: Holders, device: torch.device) -> None:
        self.model, self.holders, self.device = model, holders, device
        self.steps: list[StepState] = []
        self.checkpoints: list[Checkpoint] = []
        self.ends: list[float] = []
        """Seconds that the run had taken, stops not counted, when a step's token was chosen."""
        self._randomness = Recorder(device)
        self._is_stale = False  # the state outside the cache has moved since the last checkpoint
        self._looked_at = -1  # the last step at whose start it was known whether it has
        self._patience = 1  # steps until it is looked again: to look costs more than all else that is recorded

    def record(
        self, step: int, cache: Any, kwargs: dict[str, Any], unfinished: Tensor, elapsed: float, changed: bool = False
    ) -> None:
        """Step `step` is about to begin. What is already on the tape is left as it is: it was the same.

        `changed`: whether `kwargs` changed since the step before, in another way than by growing with the tokens.
        """
        if step < len(self.steps):
            self._is_stale |= self.holders.have_changed() and step > self._looked_at
            return
        mark = caches.mark(cache, with_copies=False)
        self.steps.append(StepState(self._randomness.capture(), unfinished, mark, elapsed))
        self._is_stale |= changed or (self._last is not None and self._last.cache_object is not cache)
        is_due = step - self._looked_at >= self._patience or self._is_stale or self.holders.change_every_step
        if is_due:
            has_moved = self.holders.have_changed() or self.holders.change_every_step
            self._patience = 1 if has_moved else min(2 * self._patience, SPACING)
            self._is_stale |= has_moved
            self._looked_at = step
        if is_due or mark.needs_copies:
            self._check(step, cache, kwargs)

    def start_for(self, step: int, cache: Any) -> tuple[int, Checkpoint]:
        """From which step on to run so as to be at the start of `step`, and the checkpoint that it needs."""
        self._look(cache)
        checkpoint = next(c for c in reversed(self.checkpoints) if c.step <= step)
        if checkpoint.cache_object is not cache or caches.needs_copies(cache):
            return checkpoint.step, checkpoint
        return min(step, checkpoint.good_until), checkpoint

    def forget_after(self, step: int) -> None:
        """The run went another way than before at this step: what followed is not its past."""
        del self.steps[step + 1 :], self.ends[step + 1 :]
        self.checkpoints = [c for c in self.checkpoints if c.step <= step]
        self.checkpoints[-1].good_until = min(self.checkpoints[-1].good_until, step)
        self._looked_at = min(self._looked_at, step)

    @property
    def nbytes_per_step(self) -> float:
        """What the tape itself takes for a step, checkpoints not counted."""
        seen: set[int] = set()
        total = 0
        for state in self.steps:
            for part in (state.random.cpu, state.random.accelerator, state.unfinished):
                if part is not None and id(part) not in seen:
                    seen.add(id(part))
                    total += part.numel() * part.element_size() + TENSOR_OVERHEAD
            total += 8 * len(state.cache.lengths) + STATE_OVERHEAD
        return total / max(len(self.steps), 1)

    def _look(self, cache: Any) -> None:
        """If nothing has moved up to now, the steps since it was last looked are as good as that one."""
        latest, last = len(self.steps) - 1, self._last
        if last is not None and latest > self._looked_at and not self._is_stale:
            self._is_stale = self.holders.have_changed() or last.cache_object is not cache
            if not self._is_stale and not self.steps[latest].cache.needs_copies:
                last.good_until = self._looked_at = latest

    @property
    def _last(self) -> Checkpoint | None:
        return self.checkpoints[-1] if self.checkpoints else None

    def _check(self, step: int, cache: Any, kwargs: dict[str, Any]) -> None:
        last = self._last
        if last is not None and not self._is_stale and not self.steps[step].cache.needs_copies:
            last.good_until = step
            return
        if last is None or step - last.step >= self._spacing:
            self._is_stale = False
            self.checkpoints.append(
                Checkpoint(
                    step,
                    step,
                    caches.mark(cache, with_copies=True),
                    cache,
                    self.holders.copy(),
                    {k: None if v is cache else v for k, v in kwargs.items()},
                )
            )
            self._thin()

    @property
    def _spacing(self) -> int:
        """Wider when one checkpoint is so large that only a few fit."""
        size = self.checkpoints[-1].nbytes or 1
        return SPACING * max(1, MIN_CHECKPOINTS * size // CHECKPOINT_BYTES)

    def _thin(self) -> None:
        """Drops every second of the older checkpoints while there are too many bytes of them. The first one stays."""
        size = self.checkpoints[-1].nbytes or 1
        allowed = max(MIN_CHECKPOINTS, CHECKPOINT_BYTES // size)
        if len(self.checkpoints) > allowed:
            older = len(self.checkpoints) // 2
            kept = self.checkpoints[:older:2]
            self.checkpoints = [*kept, *self.checkpoints[older:]]


TENSOR_OVERHEAD = 160
"""Bytes of a tensor object beside its elements, about."""
STATE_OVERHEAD = 500
"""Bytes of the small objects of a step, about."""
