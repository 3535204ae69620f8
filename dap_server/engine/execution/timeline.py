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

from dap_server.engine.execution import caches, randomness
from dap_server.engine.execution.arguments import Growing
from dap_server.engine.execution.caches import CacheMark
from dap_server.engine.execution.holders import Holders, Snapshot
from dap_server.engine.execution.randomness import RandomState, Recorder

SPACING = 4
"""Steps between checkpoints: where something moves in every step, a step back runs at most this many forwards."""

PATIENCE = 64
"""Steps until it is looked again whether anything moves but the tokens: to look costs more than all that is kept.

A step back to between two looks runs at most this many forwards, where the later one is the first to find a move.
"""

FIRST_PATIENCE = 3
"""The same before the second look: a prefill, and steps that decode. After two, what goes to and fro is as it was."""

CHECKPOINT_BYTES = 512 * 1024 * 1024
"""What all checkpoints of a run may take together."""

MIN_CHECKPOINTS = 4


@dataclass(slots=True)
class StepState:
    """The start of one step.

    Attributes:
        unfinished: (B,) 1 for sequences that go on.
        random: shared with the step before as far as it has not moved; None while nobody has looked.
        cache: None while nobody has looked.
    """

    unfinished: Tensor
    random: RandomState | None = None
    cache: CacheMark | None = None

    @property
    def is_known(self) -> bool:
        """Whether a run can begin there."""
        return self.random is not None and self.cache is not None


@dataclass
class Checkpoint:
    """State by value at the start of a step.

    Attributes:
        good_until: the last step that has the same state outside the cache, and arguments that have only grown.
        cache_object: what held the cache then; models may replace it.
        kwargs: the other arguments of the model.
        later: a step behind `good_until`, or that one, and the arguments that it begins with.
    """

    step: int
    good_until: int
    cache: CacheMark
    cache_object: Any
    holders: Snapshot
    kwargs: dict[str, Any]
    later: tuple[int, dict[str, Any]]
    nbytes: int = 0

    def __post_init__(self) -> None:
        self.nbytes = self.cache.nbytes + self.holders.nbytes


class Timeline:
    """Records a decode loop, step by step. Knows how to come back, not how to run.

    Where nothing has moved but the tokens it is not looked at every step: what a later look finds as an earlier one has
    left it was so between them. Where it is not, the steps between are reached by running on from the earlier look.
    """

    def __init__(self, model: Any, holders: Holders, device: torch.device) -> None:
        self.model, self.holders, self.device = model, holders, device
        self.steps: list[StepState] = []
        self.growing = Growing()
        self.checkpoints: list[Checkpoint] = []
        self.ends: list[float] = []
        """Seconds that the run had taken, stops not counted, when a step's token was chosen."""
        self._randomness = Recorder(device)
        self._draws = False  # random numbers are drawn in the steps
        self._grows = False  # all that the cache does is to grow by one token a step
        self._is_stale = False  # the state outside the cache has moved since the last checkpoint
        self._looked_at = -1  # the last step at whose start everything was looked at
        self._patience = 1  # steps until it is looked again

    def record(self, step: int, cache: Any, kwargs: dict[str, Any], unfinished: Tensor) -> None:
        """Step `step` is about to begin. What is already on the tape is left as it is: it was the same."""
        if step < len(self.steps):
            self._is_stale |= self.holders.have_changed() and step > self._looked_at
            return
        self.steps.append(state := StepState(unfinished))
        if self._draws:
            state.random = self._randomness.capture()
        if not self._grows:
            state.cache = caches.mark(cache, with_copies=False)
            self._is_stale |= state.cache.needs_copies
        if step and self.growing.might_have_changed(kwargs):
            self._is_stale |= self.growing.learn(step, kwargs)
        if self._is_stale or step - self._looked_at >= self._patience:
            self._look(step, cache, kwargs)
            self._check(step, cache, kwargs)

    def draws(self, step: int) -> None:
        """Step `step`, which begins, will draw its token at random."""
        self._draws = True
        if self.steps[step].random is None:
            self.steps[step].random = self._randomness.capture()

    def stands_at(self, step: int, cache: Any) -> StepState:
        """The start of a step that has been reached by running on: what nobody looked at then is looked at now."""
        state = self.steps[step]
        if state.random is None:
            state.random = randomness.capture(self.device)
        if state.cache is None:
            state.cache = caches.mark(cache, with_copies=False)
        return state

    def start_for(self, step: int, cache: Any) -> tuple[int, Checkpoint]:
        """From which step on to run so as to be at the start of `step`, and the checkpoint that it needs."""
        checkpoint = next(c for c in reversed(self.checkpoints) if c.step <= step)
        if checkpoint.cache_object is not cache or caches.needs_copies(cache):
            return checkpoint.step, checkpoint
        known = (s for s in range(min(step, checkpoint.good_until), checkpoint.step, -1) if self.steps[s].is_known)
        return next(known, checkpoint.step), checkpoint

    def kwargs_of(self, step: int, checkpoint: Checkpoint) -> dict[str, Any]:
        """The arguments that a step begins with which `start_for` has given with this checkpoint."""
        if step == checkpoint.step:
            return dict(checkpoint.kwargs)
        later, kwargs = checkpoint.later
        return self.growing.cropped(kwargs, later - step)

    def mark_of(self, step: int, checkpoint: Checkpoint) -> CacheMark:
        """Where the cache was at the start of a step that `start_for` has given with this checkpoint."""
        mark = checkpoint.cache if step == checkpoint.step else self.steps[step].cache
        assert mark is not None
        return mark

    def forget_after(self, step: int) -> None:
        """The run went another way than before at this step: what followed is not its past."""
        del self.steps[step + 1 :], self.ends[step + 1 :]
        self.checkpoints = [c for c in self.checkpoints if c.step <= step]
        self.checkpoints[-1].good_until = min(self.checkpoints[-1].good_until, step)
        self._looked_at = max(s for s in range(min(self._looked_at, step) + 1) if self.steps[s].is_known)

    @property
    def nbytes_per_step(self) -> float:
        """What the tape itself takes for a step, checkpoints not counted."""
        seen: set[int] = set()
        total = 0
        for state in self.steps:
            random, cache = state.random, state.cache
            for part in (state.unfinished, *((random.cpu, random.accelerator) if random else ())):
                if part is not None and id(part) not in seen:
                    seen.add(id(part))
                    total += part.numel() * part.element_size() + TENSOR_OVERHEAD
            total += 8 * len(cache.lengths if cache else ()) + STATE_OVERHEAD
        return total / max(len(self.steps), 1)

    def look_back(self, cache: Any, kwargs: dict[str, Any], of_step: int) -> None:
        """Somewhere in the latest step: if nothing has moved up to now, nothing had when it began.

        `of_step`: which step begins, or will begin, with these arguments.
        """
        latest, last = len(self.steps) - 1, self._last
        if last is None or latest <= self._looked_at:
            return
        is_still = self._find_between(latest, self._randomness.capture(), caches.mark(cache, False), is_begun=True)
        self._is_stale |= self.holders.have_changed() or last.cache_object is not cache
        self._is_stale |= self.growing.learn(of_step, kwargs)
        if is_still and not self._is_stale and not caches.needs_copies(cache):
            last.good_until = self._looked_at = latest
            last.later = of_step, dict(kwargs)

    def _look(self, step: int, cache: Any, kwargs: dict[str, Any]) -> None:
        """At the start of the latest step."""
        state = self.steps[step]
        state.random = random = state.random or self._randomness.capture()
        state.cache = mark = state.cache or caches.mark(cache, with_copies=False)
        is_still = self._looked_at < 0 or self._find_between(step, random, mark)
        has_moved = self.holders.have_changed() or self.holders.change_every_step
        has_moved |= self._last is not None and self._last.cache_object is not cache
        has_moved |= self.growing.learn(step, kwargs) and step > 0
        self._draws |= self._looked_at >= 0 and random is not self.steps[self._looked_at].random
        self._grows = caches.grown(mark, 0) is not None
        self._is_stale |= has_moved
        patience = PATIENCE if step else FIRST_PATIENCE
        self._patience = 1 if has_moved or not is_still else patience
        self._looked_at = step

    def _find_between(self, step: int, random: RandomState, mark: CacheMark, is_begun: bool = False) -> bool:
        """Steps that began since it was last looked, up to one of which these are the state; whether all are known now.

        `is_begun`: some layers may have run in that step.
        """
        first, before = self._looked_at, self.steps[self._looked_at]
        might_be = [caches.grown(before.cache, step - first + more) for more in range(1 + is_begun)]
        grows = set(mark.lengths) <= {length for one in might_be if one is not None for length in one.lengths}
        for s in range(first + 1, step + 1):
            state = self.steps[s]
            if state.random is None and random is before.random:
                state.random = random
            if state.cache is None and grows:
                state.cache = caches.grown(before.cache, s - first)
        return all(state.is_known for state in self.steps[first + 1 : step + 1])

    @property
    def _last(self) -> Checkpoint | None:
        return self.checkpoints[-1] if self.checkpoints else None

    def _check(self, step: int, cache: Any, kwargs: dict[str, Any]) -> None:
        last = self._last
        if last is not None and not self._is_stale and not self.mark_of(step, last).needs_copies:
            last.good_until, last.later = step, (step, dict(kwargs))
            return
        if last is None or step - last.step >= self._spacing:
            self._is_stale = False
            mark = caches.mark(cache, with_copies=True)
            others = {name: None if value is cache else value for name, value in kwargs.items()}
            copied = self.holders.copy()
            self.checkpoints.append(Checkpoint(step, step, mark, cache, copied, others, (step, others)))
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
