"""Runs under the debugger in the test's own thread: a function of the test looks at each stop and says how to go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dap_server.engine.analysis.conditions.judge import ConditionJudge
from dap_server.engine.anatomy.loading import Loaded
from dap_server.engine.anatomy.modules import Anatomy
from dap_server.engine.anatomy.tokens import Vocabulary
from dap_server.engine.execution.breakpoints import Breakpoint, Wanted, place
from dap_server.engine.execution.calls.decoding import own_decoding
from dap_server.engine.execution.generation import Generation
from dap_server.engine.execution.stepping import Motion, Stepper, Stop
from dap_server.engine.execution.travel import Destination
from dap_server.engine.inspection.frames import CallStack
from dap_server.engine.inspection.scopes import Scopes
from dap_server.engine.inspection.variables import Children

Decide = Callable[[Stop], Motion | Destination | None]


class Walk:
    """One model with a stepper. Everything the debugger tells is kept in `stops`, `tokens` and `finished_with`."""

    def __init__(self, loaded: Loaded, decide: Decide | None = None, breakpoints: Sequence[str | Wanted] = ()) -> None:
        self.loaded = loaded
        self.anatomy = Anatomy(loaded.model)
        self.vocabulary = Vocabulary(loaded.tokenizer)
        self.scopes = Scopes(self.anatomy, self.vocabulary)
        self.stepper = Stepper(self.anatomy, self._stopped)
        self.stepper.judging.judge = ConditionJudge(self.anatomy, self.vocabulary)
        self.stepper.judging.say = lambda text, candidate: self.said.append(text.rstrip("\n"))
        self.stops: list[str] = []
        self.said: list[str] = []
        """Log messages."""
        self.heard: list[Tensor] = []
        self.finished_with: Generation | None = None
        self._decide = decide or (lambda _stop: Motion.RUN)
        self.place(*breakpoints)

    def place(self, *breakpoints: str | Wanted) -> list[Breakpoint]:
        """Replaces all breakpoints, by name or with conditions; they are numbered from 1."""
        wanted = [
            Wanted(i, one) if isinstance(one, str) else replace(one, id=i) for i, one in enumerate(breakpoints, 1)
        ]
        placed = [place(one, self.anatomy, self.stepper.regions, self.vocabulary) for one in wanted]
        self.stepper.set_breakpoints(placed)
        return placed

    def generate(self, **options: Any) -> Any:
        """`model.generate` under the debugger."""
        self.stepper.begin(Generation())
        with own_decoding(self.stepper, self):
            try:
                return self.loaded.model.generate(**options)
            finally:
                self.stepper.end()
                self.stepper.release()

    def token(self, tokens: Tensor) -> None:
        self.heard.append(tokens)

    def finished(self, generation: Generation) -> None:
        self.finished_with = generation

    def look_at_everything(self, stop: Stop) -> int:
        """Opens every scope of the first and last frames, two levels deep; returns how many rows there were."""
        stack = CallStack(stop, self.stepper, self.vocabulary, 0)
        frames = [*stack.page(0, 3), *stack.page(max(len(stack) - 3, 3), None)]
        return sum(_open(scope.children, 2) for frame in frames for scope in self.scopes.of(frame))

    def _stopped(self, stop: Stop) -> None:
        self.stops.append(f"{stop.reason}: {stop.place}")
        decided = self._decide(stop)
        if decided is None:  # it has said so itself
            return
        if isinstance(decided, Destination):
            self.stepper.travel(*decided)
        else:
            self.stepper.resume(decided)


PROMPTS = torch.randint(3, 96, (2, 6), generator=torch.Generator().manual_seed(0))
"""(B, T) for the vocabulary of every tiny model, without special tokens."""
GREEDY: dict[str, Any] = {"max_new_tokens": 4, "do_sample": False, "disable_compile": True}


def looking(model: Any, place: str, step: int, look: Callable[[Walk, Stop], None], **options: Any) -> Tensor:
    """Generates greedily, looks once from a place of one step, and returns the tokens."""
    looks: list[str] = []

    def decide(stop: Stop) -> Motion:
        if stop.place.step == step and not looks:
            looks.append(str(stop.place))
            look(walk, stop)
        return Motion.RUN

    walk = Walk(Loaded(model, None), decide, [place])
    tokens: Tensor = walk.generate(**{"input_ids": PROMPTS, **GREEDY, **options})
    assert looks
    return tokens


def _open(children: Children, depth: int) -> int:
    rows = [*children.named_rows(), *children.indexed_rows(0, 5)]
    if depth > 1:
        return len(rows) + sum(_open(row.children, depth - 1) for row in rows if row.children)
    return len(rows)
